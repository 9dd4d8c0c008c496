"""The process `raftqd`: configuration, wiring, start, drain and stop, logs.

Owns nothing that others decide: it reads the settings, opens the data folder, joins replica and
server, and ends in a way that loses no call.
"""
