"""The first request on a native connection, read from its params."""

from typing import NamedTuple, cast

from raftq.protocol.errors import InvalidRequest, UnsupportedVersion
from raftq.protocol.versions import NATIVE_PROTOCOL_VERSION


class Hello(NamedTuple):
    """What a client says of itself."""

    client_name: str
    token: str | None


def parse_hello(params: object) -> Hello:
    """Return a hello from `[version, client_name]` or `[version, client_name, token]`.

    Raises:
        InvalidRequest: It is malformed.
        UnsupportedVersion: The client speaks another version.
    """
    values = cast("list[object]", params) if isinstance(params, list) else []
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
