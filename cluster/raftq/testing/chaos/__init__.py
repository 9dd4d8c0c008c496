"""Chaos: real node processes, real faults, and the same verdict as in the simulator.

Owns the surroundings of the nodes (namespaces, disks, clocks), the faults and the report. Does not
own the clients' programs (`raftq.testing.sim.clients`) nor the judgement (`raftq.testing.checks`).
"""
