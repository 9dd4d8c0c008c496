"""`raftq bench`: named cases measured against local clusters of real processes with fsync.

Owns the measuring and its presentation. A case gets a cluster of its own, so that none depends on
what another left behind. Nothing here judges a figure: goals are in docs/internals/performance.md.
"""
