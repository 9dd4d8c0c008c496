"""Node to node: what is said, over which connection, and who may say it."""
