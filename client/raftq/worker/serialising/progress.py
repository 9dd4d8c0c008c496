"""How far a run is, as it is stored."""

from typing import Any

from raftq.protocol import limits
from raftq.protocol.errors import PayloadTooLarge
from raftq.worker.errors import InvalidArguments
from raftq.worker.serialising.serializer import Serializer


def pack_progress(serializer: Serializer, value: object) -> bytes:
    """Return a value as bytes.

    Raises:
        InvalidArguments: It cannot be stored.
        PayloadTooLarge: It is more than the cluster keeps.
    """
    try:
        stored = serializer.encode(value)
    except Exception as error:  # Whatever a serializer raises, it means no.
        kind = type(value).__qualname__
        raise InvalidArguments(f"the progress ({kind}) cannot be stored: {error}") from None
    if len(stored) > limits.PROGRESS_BYTES_MAX:
        raise PayloadTooLarge(
            f"the progress takes {len(stored)} bytes; at most {limits.PROGRESS_BYTES_MAX} are "
            "kept: say how far it is, and keep the rest elsewhere"
        )
    return stored


def read_progress(serializer: Serializer, stored: bytes | None) -> object:
    """Return the value that was told last; None if there is none.

    Raises:
        ValueError: It was written by something else.
    """
    return None if stored is None else serializer.decoder(Any)(stored)
