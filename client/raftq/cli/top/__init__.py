"""`raftq top`: a live view of the cluster."""
