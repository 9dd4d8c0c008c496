"""`raftq status`: `raftq task show`, in one word."""

from raftq.cli.control.task import show as status

__all__ = ["status"]
