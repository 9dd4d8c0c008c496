"""The command `raftq worker`: worker processes that run an App's tasks, and their parent.

The parent imports no App. It starts the processes, restarts those that die, and passes signals on.
"""
