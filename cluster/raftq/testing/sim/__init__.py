"""A whole cluster in one process, in virtual time, from one seed.

The nodes and the clients are raftq's own production code; only sockets, disk and time are
replaced. See docs/internals/simulation.md.
"""
