"""The bytes that survive: journal, vote, snapshots and the data folder that holds them.

Owns every file of a node and the promise that what was reported durable is there after any crash,
or that the damage is reported. Does not own what the bytes mean: log entries and snapshot chunks
are opaque here, and when to sync, cut or snapshot is decided by consensus. See storage/DESIGN.md.
"""
