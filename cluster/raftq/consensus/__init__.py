"""Replication: the only package that imports PySyncObj.

Owns the order of log entries, their durability on a majority, leadership, the leader's clock and
the link between nodes. Does not own what the entries mean (`raftq.core`) nor how bytes reach the
disk (`raftq.storage`). Everything above talks to the `Replica` of `contract.py`.
"""
