"""Events of tasks: the newest that this node has applied, and who is told of them."""
