"""Where the payloads of tasks are on this node's disk, and how they get from there to a caller."""
