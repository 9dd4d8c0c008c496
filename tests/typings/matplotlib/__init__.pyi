"""The part of matplotlib that raftq uses; its own types are partly unknown."""
