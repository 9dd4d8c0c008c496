"""Mutations of where payloads are, and of what proves them."""

from typing import Final, cast

from raftq.consensus.payloads.entry_payloads import EntryPayloads
from raftq.consensus.payloads.store import PayloadStore
from raftq.consensus.snapshotter import Snapshotter
from raftq.core.machine import Machine
from raftq.protocol.replies import LeasedTask
from raftq.storage import chunk_index as chunk_module
from raftq.storage import entry_reader as entry_module
from raftq.storage.record import HEAD_BYTES, Record, read_head, read_record
from raftq.testing.sim.mutations.mutation import Inside, Mutation
from raftq.testing.sim.patching import Patch, original


def _checksums() -> list[Patch]:
    def believed(data: bytes, offset: int, seed: int) -> Record | None:
        """Return the record whatever its body's checksum says."""
        record = read_record(data, offset, seed)
        if record is not None or len(data) < HEAD_BYTES:
            return record
        head = read_head(data, seed)
        if head is None:
            return None
        number = int.from_bytes(data[8:16], "little")
        body = data[HEAD_BYTES : head.length]
        return Record(head.tag, number, head.term, 0, body, head.checksum, 0, head.length)

    def payload(self: Inside, sequence: int, task_id: bytes, _crc: int) -> bytes:
        found = self._recent.get(sequence)
        if found is None and sequence <= self._snapshot_through:
            found = self._in_snapshot(sequence)
        elif found is None:
            found = self._entries.find(sequence, task_id, None)
        assert found is not None
        return cast(bytes, found)

    def find(self: Inside, sequence: int, task_id: bytes, _crc: object) -> bytes | None:
        index = next(
            index
            for first, index in zip(
                reversed(self._first_sequences), reversed(self._indexes), strict=True
            )
            if first <= sequence
        )
        return cast("bytes | None", dict(self._payloads_in(index)).get(task_id))

    def with_payload(self: Inside, granted: Inside) -> LeasedTask:
        found = b""
        if granted.payload_bytes:
            found = self.payloads.payload(granted.sequence, granted.task_id, granted.payload_crc)
        return LeasedTask(
            granted.task_id, granted.queue, granted.token, granted.attempt, found, granted.lease_ms
        )

    return [
        (entry_module, "read_record", believed),
        (chunk_module, "read_record", believed),
        (PayloadStore, "payload", payload),
        (EntryPayloads, "find", find),
        (Machine, "_with_payload", with_payload),
    ]


def _change_over() -> list[Patch]:
    def change_to(self: Inside, snapshot: Inside, last_sequence: int) -> None:
        """Go on with the snapshot before."""
        snapshot.close()

    return [(PayloadStore, "change_to", change_to)]


def _too_early() -> list[Patch]:
    take_over = original(Snapshotter, "_take_over")

    def early(self: Inside, meta: Inside) -> object:
        """Take for granted that every task of this moment is in the snapshot."""
        self._last_sequence = self._state.machine.last_sequence
        return cast("Inside", take_over)(self, meta)

    return [(Snapshotter, "_take_over", early)]


MUTATIONS: Final[dict[str, Mutation]] = {
    "payload-checksums": Mutation(
        "a payload is delivered as the disk returns it", _checksums, ("rot-in-use",)
    ),
    "payload-change-over": Mutation(
        "the log is cut while payloads are still read from it", _change_over, ("backlog", "lagging")
    ),
    "payload-boundary": Mutation(
        "tasks that were enqueued while a snapshot was written are looked for in it",
        _too_early,
        ("backlog", "lagging"),
    ),
}
