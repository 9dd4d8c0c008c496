"""Schedules on the leader: which ticks there are, and their firing."""

from raftq.server.schedules.firing import Firing, fire_commands, tick_task_id
from raftq.server.schedules.ticks import first_tick, upcoming

__all__ = ["Firing", "fire_commands", "first_tick", "tick_task_id", "upcoming"]
