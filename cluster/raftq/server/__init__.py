"""What clients reach on a node: native RPC, HTTP, long polls, forwarding, metrics.

Owns connections, admission and waiting; not the order of commands (`raftq.consensus`) nor their
meaning (`raftq.core`). Every node serves every call.
"""
