"""A client's stream of requests, cut and decoded without trust in what it contains.

Nothing is built from a message before its method is known, and then only what that method takes:
16 MiB of empty arrays are 16 MiB of bytes here, and not a GiB of objects. What stands in the right
place but is of a wrong type is an error of that request alone; what makes the rest of the stream
unreadable raises from `feed` or `read_request`.
"""

from typing import Annotated, Any, Final, NamedTuple

import msgpack
import msgspec
from msgspec import Meta, Struct, structs

from raftq.protocol import limits
from raftq.protocol.calls import Call
from raftq.protocol.codec import MALFORMED, METHODS, encode, invalid
from raftq.protocol.errors import InvalidRequest, PayloadTooLarge, UnknownMethod
from raftq.protocol.fields import TimeoutMs

_HEADS: Final = (b"\x94", b"\xdc\x00\x04", b"\xdd\x00\x00\x00\x04")
"""How an array of four begins, in one of three ways."""
_USUAL_HEAD: Final = _HEADS[0][0]
_SHOWN_BYTES_MAX: Final = 100


class RequestReader:
    """Cuts a stream into requests; holds at most one that is not complete."""

    def __init__(self) -> None:
        self._unpacker = msgpack.Unpacker(max_buffer_size=limits.REQUEST_BYTES_MAX)
        self._rest = bytearray()
        """What came of the request that is not complete."""
        self._begins_at = 0
        """Where in the stream that request begins."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the requests that are complete now.

        Raises:
            InvalidRequest: The stream holds no requests, or is not MessagePack.
            PayloadTooLarge: A request is over its limit.
        """
        # Most often there is no rest, and nothing is copied but each request out of `data`.
        if self._rest:
            self._rest += data
        source = self._rest or data
        requests: list[bytes] = []
        begin = 0
        try:
            self._unpacker.feed(data)
            while begin < len(source):
                if source[begin] != _USUAL_HEAD:
                    _check_head(source, begin)
                self._unpacker.skip()
                ends_at = self._unpacker.tell()
                end = begin + ends_at - self._begins_at
                self._begins_at = ends_at
                with memoryview(source) as view:
                    requests.append(bytes(view[begin:end]))
                begin = end
        except msgpack.OutOfData:
            pass
        except msgpack.BufferFull:
            raise _too_large() from None
        except (ValueError, msgpack.UnpackException) as error:
            raise not_the_protocol(error) from None
        if source is data:
            self._rest += data[begin:]
        else:
            del self._rest[:begin]
        if len(self._rest) > limits.REQUEST_BYTES_MAX:
            raise _too_large()
        return requests


def _check_head(data: bytes | bytearray, at: int) -> None:
    """Refuse what is no array of four at its first bytes, however long it claims to be."""
    for head in _HEADS:
        if data.startswith(head[: len(data) - at], at):
            return
    raise InvalidRequest("a message must be an array [0, id, method, params]")


class Request(Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """`[0, id, method, params]`."""

    kind: Annotated[int, Meta(ge=0, le=0)]
    call_id: Annotated[int, Meta(ge=0)]
    method: msgspec.Raw
    params: msgspec.Raw


_request_decoder: Final = msgspec.msgpack.Decoder(Request)
_text_decoder: Final = msgspec.msgpack.Decoder(str)


def read_request(raw: bytes) -> Request:
    """Return a request, its method and params still undecoded.

    Raises:
        InvalidRequest: It has no id that could be answered.
    """
    try:
        return _request_decoder.decode(raw)
    except MALFORMED as error:
        raise InvalidRequest(
            f"a message must be an array [0, id, method, params], id from 0 to 2^64-1: {error}"
        ) from None


class _Method(NamedTuple):
    name: str
    call: type[Call]
    decoder: "msgspec.msgpack.Decoder[Struct]"


def _params_of(name: str, call: type[Call]) -> _Method:
    """Return the decoder of a method's params: `timeout_ms` and the fields of its call."""
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [("timeout_ms", TimeoutMs)]
    for field in structs.fields(call):
        default = () if field.required else (field.default,)
        fields.append((field.name, field.type, *default))
    params = msgspec.defstruct(
        f"{call.__name__}Params",
        fields,
        array_like=True,
        frozen=True,
        gc=False,
        forbid_unknown_fields=True,
    )
    return _Method(name, call, msgspec.msgpack.Decoder(params))


_METHODS: Final = {encode(name): _params_of(name, call) for name, call in METHODS.items()}


def call_of(method: bytes, params: bytes | msgspec.Raw) -> tuple[str, int, Call]:
    """Return (method, timeout_ms, call) of a request's undecoded fields.

    Raises:
        UnknownMethod: There is no such method.
        PayloadTooLarge: A payload or result is over its limit.
        InvalidRequest: A field is missing, unknown, of the wrong type or out of range; the
            message names its position.
    """
    found = _METHODS.get(method) or _METHODS.get(encode(method_name(method)))
    if found is None:
        raise _unknown(repr(method_name(method)))
    try:
        values = structs.astuple(found.decoder.decode(params))
    except MALFORMED as error:
        if not _is_filled_array(bytes(params)):
            raise invalid("params must be an array that begins with timeout_ms") from None
        raise invalid(f"{found.name}: {error}") from None
    return found.name, values[0], found.call(*values[1:])


def method_name(method: bytes) -> str:
    """Return a method's name, known or not.

    Raises:
        UnknownMethod: It is no string.
        InvalidRequest: It is no text.
    """
    try:
        return _text_decoder.decode(method)
    except msgspec.ValidationError:
        is_short = len(method) <= _SHOWN_BYTES_MAX
        raise _unknown(repr(msgspec.msgpack.decode(method)) if is_short else "like that") from None
    except MALFORMED as error:
        raise not_the_protocol(error) from None


def _is_filled_array(raw: bytes) -> bool:
    return b"\x91" <= raw[:1] <= b"\x9f" or raw[:1] in (b"\xdc", b"\xdd")


def _unknown(shown: str) -> UnknownMethod:
    return UnknownMethod(f"there is no method {shown:.100}; there are: {', '.join(METHODS)}")


def not_the_protocol(error: Exception) -> InvalidRequest:
    """Return the error of a stream that cannot be read any further."""
    return InvalidRequest(f"not the native protocol: {type(error).__name__}: {error}")


def _too_large() -> PayloadTooLarge:
    return PayloadTooLarge(
        f"a message is over {limits.REQUEST_BYTES_MAX} bytes; send less at a time",
        bytes_max=limits.REQUEST_BYTES_MAX,
    )
