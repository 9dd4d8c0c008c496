"""Payloads as chunks of a dump, in the order of their tasks' sequences.

They come last in a dump, so that a snapshot's reader can leave them where they are and find each
by the first sequence of its chunk.
"""

from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise
from typing import Final

import msgspec
from msgspec import Struct

from raftq.protocol import limits


class PayloadRows(Struct, array_like=True, frozen=True, tag=6):
    """A chunk of a dump. Sequences are told by their distances: one byte for most."""

    distances: list[int]
    """The first sequence, then how much greater each is than the one before."""
    payloads: list[bytes]

    def rows(self) -> Iterator[tuple[int, bytes]]:
        """Yield (sequence, payload).

        Raises:
            ValueError: There are more of one than of the other.
        """
        return zip(accumulate(self.distances), self.payloads, strict=True)


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(PayloadRows).decode


def payload_chunks(rows: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Yield (first sequence, chunk) for rows in ascending order."""
    sequences: list[int] = []
    payloads: list[bytes] = []
    size = 0
    for sequence, payload in rows:
        sequences.append(sequence)
        payloads.append(payload)
        size += len(payload)
        if size >= limits.PAYLOAD_CHUNK_BYTES:
            yield sequences[0], _chunk(sequences, payloads)
            sequences, payloads, size = [], [], 0
    if payloads:
        yield sequences[0], _chunk(sequences, payloads)


def _chunk(sequences: list[int], payloads: list[bytes]) -> bytes:
    distances = [sequences[0], *(after - before for before, after in pairwise(sequences))]
    return _encode(PayloadRows(distances, payloads))


def payload_rows(chunk: bytes) -> dict[int, bytes]:
    """Return the payloads of a chunk by sequence.

    Raises:
        msgspec.MsgspecError: It is no such chunk.
        ValueError: It is malformed.
    """
    return dict(_decode(chunk).rows())
