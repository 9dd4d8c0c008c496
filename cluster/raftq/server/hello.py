"""The first request on a native connection, read from its params."""

from typing import Final, NamedTuple

import msgspec

from raftq.protocol import limits
from raftq.protocol.codec import MALFORMED
from raftq.protocol.errors import InvalidRequest, UnsupportedVersion
from raftq.protocol.versions import NATIVE_PROTOCOL_VERSION


class Hello(NamedTuple):
    """What a client says of itself."""

    client_name: str
    token: str | None


_decoder: Final = msgspec.msgpack.Decoder(list[int | str | bool | None])


def parse_hello(params: bytes) -> Hello:
    """Return a hello from `[version, client_name]` or `[version, client_name, token]`.

    Args:
        params: As they came; after the first hello they may be as long as any request.

    Raises:
        InvalidRequest: It is malformed.
        UnsupportedVersion: The client speaks another version.
    """
    try:
        values = _decoder.decode(params) if len(params) <= limits.HELLO_BYTES_MAX else []
    except MALFORMED:
        values = []
    match values:
        case [int(version), str(name)] if type(version) is int:
            token = None
        case [int(version), str(name), str() | None as token] if type(version) is int:
            pass
        case _:
            raise InvalidRequest("hello takes [version, client_name] and perhaps a token")
    if version != NATIVE_PROTOCOL_VERSION:
        raise UnsupportedVersion(
            f"this node speaks native protocol {NATIVE_PROTOCOL_VERSION}, not {version}",
            version=NATIVE_PROTOCOL_VERSION,
        )
    return Hello(name, token)
