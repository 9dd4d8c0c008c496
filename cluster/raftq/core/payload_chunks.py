"""Payloads as chunks of a dump: rows of (sequence, payload), sequences growing.

They come last in a dump, so that a snapshot's reader can leave them where they are and find each
by the first sequence of its chunk.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from raftq.protocol import limits


class PayloadRows(Struct, array_like=True, frozen=True, tag=6):
    """A chunk of a dump."""

    rows: Sequence[tuple[int, bytes]]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(PayloadRows).decode


def payload_chunks(rows: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Yield (first sequence, chunk) for rows in ascending order."""
    pending: list[tuple[int, bytes]] = []
    size = 0
    for row in rows:
        pending.append(row)
        size += len(row[1])
        if size >= limits.PAYLOAD_CHUNK_BYTES:
            yield pending[0][0], _encode(PayloadRows(pending))
            pending, size = [], 0
    if pending:
        yield pending[0][0], _encode(PayloadRows(pending))


def payload_rows(chunk: bytes) -> Sequence[tuple[int, bytes]]:
    """Return the rows of a chunk.

    Raises:
        msgspec.MsgspecError: It is no such chunk.
    """
    return _decode(chunk).rows
