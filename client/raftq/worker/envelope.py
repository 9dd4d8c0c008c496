"""A task's payload as an App writes it: the broker stores it and does not look inside.

MessagePack `[version, name, arguments, keyword arguments, {…}]`. The map at the end may hold
`headers` (text by text), `timeout_ms` (the run limit of one attempt, where the producer overrode
the task's own; 0 for none), `takes` (parents' results that come before the arguments),
`has_backoff`, and `serializer`, without which arguments are plain MessagePack; with another
serializer each argument is a bin of its bytes. Programs in other languages can write and read it.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw, Struct, structs

from raftq.protocol import limits
from raftq.protocol.errors import PayloadTooLarge
from raftq.worker.errors import UnreadablePayload

VERSION: Final = 1
MSGPACK: Final = "msgpack"


class Extras(Struct, frozen=True, omit_defaults=True):
    """What a payload may say beside its arguments."""

    headers: dict[str, str] = {}
    timeout_ms: Annotated[int, Meta(ge=0)] | None = None
    serializer: str = MSGPACK
    takes: Annotated[int, Meta(ge=0)] | None = None
    """Which results come before the arguments: 0, that of the first parent; n, a list of those of
    the first n parents."""
    has_backoff: bool = False
    """Whether the producer gave this call a backoff of its own."""


class Envelope(Struct, array_like=True, frozen=True):
    """A payload whose arguments have not been read."""

    version: int
    name: str
    args: list[Raw]
    kwargs: dict[str, Raw]
    extras: Extras = Extras()


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Envelope)


def pack(name: str, args: Sequence[bytes], kwargs: Mapping[str, bytes], extras: Extras) -> bytes:
    """Return a payload.

    Args:
        name: The task's.
        args: Each argument as its serializer stores it.
        kwargs: The same by name.
        extras: What else is to be said.

    Raises:
        PayloadTooLarge: The cluster would not take it.
    """
    plain = extras.serializer == MSGPACK
    stored = [_stored(each, plain) for each in args]
    named = {key: _stored(each, plain) for key, each in kwargs.items()}
    return packed(Envelope(VERSION, name, stored, named, extras))


def with_first(envelope: Envelope, first: bytes) -> Envelope:
    """Return a call with one more argument, before the others, in the place of results."""
    extras = structs.replace(envelope.extras, takes=None)
    args = [_stored(first, extras.serializer == MSGPACK), *envelope.args]
    return structs.replace(envelope, args=args, extras=extras)


def array(stored: Sequence[bytes]) -> bytes:
    """Return values that are MessagePack as one array."""
    return _encoder.encode([Raw(each) for each in stored])


def packed(envelope: Envelope) -> bytes:
    """Return the payload of a call.

    Raises:
        PayloadTooLarge: The cluster would not take it.
    """
    payload = _encoder.encode(envelope)
    if len(payload) > limits.PAYLOAD_BYTES_MAX:
        raise PayloadTooLarge(
            f"the arguments of {envelope.name!r} take {len(payload)} bytes; a task may have "
            f"{limits.PAYLOAD_BYTES_MAX}: store them elsewhere and send a reference",
            payload_bytes=len(payload),
            payload_bytes_max=limits.PAYLOAD_BYTES_MAX,
        )
    return payload


def unpack(payload: bytes) -> Envelope:
    """Return a payload's envelope.

    Raises:
        UnreadablePayload: It was not written by an App, or by a newer one.
    """
    try:
        envelope = _decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadablePayload(
            f"the payload was not written by an App: {error}; does another program use this queue?"
        ) from None
    if envelope.version != VERSION:
        raise UnreadablePayload(
            f"the payload has version {envelope.version}; this worker reads version {VERSION}"
        )
    return envelope


def argument(raw: Raw, serializer: str) -> bytes:
    """Return an argument as its serializer stored it."""
    if serializer == MSGPACK:
        return bytes(raw)
    return msgspec.msgpack.decode(raw, type=bytes)


def _stored(data: bytes, plain: bool) -> Raw:
    return Raw(data if plain else _encoder.encode(data))
