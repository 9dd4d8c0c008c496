"""A cluster in memory: the real queue machine and the real client, without nodes between them.

Owns the broker (`broker`), its clock (`clock`) and the clients over it (`clients`). Every call is
turned into the bytes that a node would get, checked by the code that checks them there, and
applied to the machine as a log entry. What is left out is what makes nodes agree: sockets, Raft,
disks. Nothing happens by itself: time passes when a test says so.
"""
