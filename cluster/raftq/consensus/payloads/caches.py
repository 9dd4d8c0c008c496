"""The few payloads that are in memory, so that a short queue and a drain need no disk."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final, Generic, TypeVar

from raftq.protocol import limits
from raftq.protocol.options import NewTask

Key = TypeVar("Key")
_OVERHEAD_BYTES: Final = 120
"""Of one payload in a dict, roughly."""


class RecentPayloads:
    """Payloads of the tasks that were enqueued last and are not finished."""

    def __init__(self) -> None:
        self._payloads: dict[int, bytes] = {}
        self._oldest = 0
        """No payload of a sequence before this is here. Asking the dict for its first key would
        search it past all places that were emptied."""
        self._bytes = 0

    def get(self, sequence: int) -> bytes | None:
        """Return a payload if it is here."""
        return self._payloads.get(sequence)

    def add(self, first_sequence: int, tasks: Iterable[NewTask]) -> None:
        """Add the payloads of tasks of consecutive sequences, and let the oldest go."""
        payloads, size = self._payloads, self._bytes
        if not payloads:
            self._oldest = first_sequence
        for sequence, task in enumerate(tasks, first_sequence):
            payloads[sequence] = payload = task.payload
            size += len(payload) + _OVERHEAD_BYTES
        while size > limits.PAYLOAD_CACHE_BYTES // 2:
            oldest = payloads.pop(self._oldest, None)
            self._oldest += 1
            if oldest is not None:
                size -= len(oldest) + _OVERHEAD_BYTES
        self._bytes = size

    def drop(self, sequence: int) -> None:
        """Forget a payload, if it is here."""
        payload = self._payloads.pop(sequence, None)
        if payload is not None:
            self._bytes -= len(payload) + _OVERHEAD_BYTES


class Block(Generic[Key]):
    """What one read from the disk brought: payloads by sequence, or by task id."""

    __slots__ = ("payloads", "size_bytes")

    def __init__(self, payloads: Mapping[Key, bytes]) -> None:
        self.payloads = payloads
        self.size_bytes = sum(map(len, payloads.values())) + _OVERHEAD_BYTES * len(payloads)


class Blocks(Generic[Key]):
    """The blocks that were used last, by their number; the newest one whatever its size."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[int, Block[Key]] = OrderedDict()
        self._bytes = 0

    def get(self, number: int) -> Mapping[Key, bytes] | None:
        """Return a block's payloads if it is here."""
        block = self._blocks.get(number)
        if block is None:
            return None
        self._blocks.move_to_end(number)
        return block.payloads

    def add(self, number: int, payloads: Mapping[Key, bytes]) -> None:
        """Add a block, and let those go that were not used for longest."""
        block = self._blocks[number] = Block(payloads)
        self._bytes += block.size_bytes
        while self._bytes > limits.PAYLOAD_CACHE_BYTES // 4 and len(self._blocks) > 1:
            self._bytes -= self._blocks.popitem(last=False)[1].size_bytes

    def clear(self) -> None:
        """Forget all blocks."""
        self._blocks.clear()
        self._bytes = 0
