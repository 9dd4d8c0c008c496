"""Tasks that were forgotten lately, so that they are told from tasks that never were.

Two generations of numbers taken from the ids: when the younger one is full, the older one goes.
"""

from typing import Final

from raftq.protocol import limits

GENERATION: Final = limits.FORGOTTEN_KEPT_MAX // 2


class Forgotten:
    """The ids of tasks whose outcome is not kept any more; at least the newest `GENERATION`."""

    def __init__(self) -> None:
        self._young: set[int] = set()
        self._old: set[int] = set()

    def add(self, task_id: bytes) -> None:
        """Note that a task is forgotten."""
        if len(self._young) >= GENERATION:
            self._young, self._old = set(), self._young
        self._young.add(_number(task_id))

    def __contains__(self, task_id: bytes) -> bool:
        number = _number(task_id)
        return number in self._young or number in self._old

    def rows(self) -> tuple[list[int], list[int]]:
        """Return (young, old) in a fixed order."""
        return sorted(self._young), sorted(self._old)

    def restore(self, young: list[int], old: list[int]) -> None:
        """Take rows."""
        self._young.update(young)
        self._old.update(old)


def _number(task_id: bytes) -> int:
    """Return the random half of a UUIDv7."""
    return int.from_bytes(task_id[8:])
