"""Bytes to messages and back. The only place that knows how a message looks on the wire.

Native protocol (docs/reference/native-protocol.md): MessagePack-RPC, `[0, id, method, params]`,
`[1, id, error, result]`, `[2, method, params]`, one after another on a TCP stream. `params` of a
call is `[timeout_ms, field, …]`. An error is `[code, message, facts]`.

Peers and the log use the same structs with their tag: `[tag, field, …]`.
"""

from collections.abc import Mapping
from typing import Final

import msgpack
import msgspec

from raftq.protocol import limits
from raftq.protocol.calls import (
    AddMember,
    Call,
    ClusterCall,
    LeaseCall,
    QueueCall,
    QueuesCall,
    RemoveMember,
    ResultCall,
    SchedulesCall,
    SettingsCall,
    TaskCall,
    TasksCall,
    TransferLeadership,
    WhyCall,
)
from raftq.protocol.commands import (
    Ack,
    Enqueue,
    EnqueueParts,
    Entry,
    EntryVersion,
    Extend,
    Fail,
    Requeue,
)
from raftq.protocol.control import (
    Cancel,
    Confirm,
    DeleteSchedule,
    Edit,
    SetLimit,
    SetQueue,
    SetQuota,
    SetSchedule,
    Sweep,
)
from raftq.protocol.errors import (
    Fact,
    InvalidRequest,
    PayloadTooLarge,
    RaftqError,
    UnsupportedVersion,
    error_from_code,
)
from raftq.protocol.replies import Reply
from raftq.protocol.versions import ENTRY_VERSION, ENTRY_VERSIONS_READABLE

METHODS: Final[Mapping[str, type[Call]]] = {
    "enqueue": Enqueue,
    "lease": LeaseCall,
    "ack": Ack,
    "fail": Fail,
    "requeue": Requeue,
    "extend": Extend,
    "enqueue_parts": EnqueueParts,
    "cancel": Cancel,
    "confirm": Confirm,
    "edit": Edit,
    "sweep": Sweep,
    "set_queue": SetQueue,
    "set_limit": SetLimit,
    "set_quota": SetQuota,
    "set_schedule": SetSchedule,
    "delete_schedule": DeleteSchedule,
    "task": TaskCall,
    "result": ResultCall,
    "tasks": TasksCall,
    "why": WhyCall,
    "queue": QueueCall,
    "queues": QueuesCall,
    "settings": SettingsCall,
    "schedules": SchedulesCall,
    "cluster": ClusterCall,
    "add_member": AddMember,
    "remove_member": RemoveMember,
    "transfer_leadership": TransferLeadership,
}
METHOD_OF: Final[Mapping[type[Call], str]] = {cls: name for name, cls in METHODS.items()}

_encoder: Final = msgspec.msgpack.Encoder()
_call_decoder: Final[msgspec.msgpack.Decoder[Call]] = msgspec.msgpack.Decoder(Call)
_reply_decoder: Final[msgspec.msgpack.Decoder[Reply]] = msgspec.msgpack.Decoder(Reply)
_entry_decoder: Final = msgspec.msgpack.Decoder(Entry)
_ENTRY_HEAD: Final = b"\x94"
_FIXINT_END: Final = 128
"""A smaller first byte is the number itself."""
_parts_decoder: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])
_decoders: Final = {cls: msgspec.msgpack.Decoder(cls) for cls in METHODS.values()}
_version_decoder: Final[msgspec.msgpack.Decoder[int]] = msgspec.msgpack.Decoder(EntryVersion)

MALFORMED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes that are no message. A bad UTF-8 string and deep nesting raise
Python's own errors, which are no MsgspecError."""

encode: Final = _encoder.encode
"""Return any message as MessagePack bytes."""
_METHOD_BYTES: Final = {name: encode(name) for name in METHODS}


def decode_call(raw: bytes | memoryview) -> Call:
    """Decode a tagged call, as peers forward it; raise InvalidRequest if it is malformed."""
    try:
        return _call_decoder.decode(raw)
    except MALFORMED as error:
        raise invalid(str(error)) from None


def decode_reply(raw: bytes | memoryview) -> Reply:
    """Decode a tagged reply; raise InvalidRequest if it is malformed."""
    try:
        return _reply_decoder.decode(raw)
    except MALFORMED as error:
        raise invalid(str(error)) from None


def decode_entry(raw: bytes | memoryview) -> Entry:
    """Decode a log entry.

    Raises:
        UnsupportedVersion: It is an entry of a version that this program does not know.
        InvalidRequest: The bytes are no entry; the machine turns both into a rejection.
    """
    try:
        entry = _entry_decoder.decode(raw)
    except MALFORMED as error:
        # Another version may have another shape, and must not be taken for damage: a replica
        # that skips what the others apply differs from them for ever.
        _check_entry_version(entry_version(raw))
        raise invalid(str(error)) from None
    _check_entry_version(entry.version)
    return entry


def entry_version(raw: bytes | memoryview) -> int:
    """Return the version of an entry, whatever else is in it; ours if it is like no entry."""
    if len(raw) > 1 and raw[:1] == _ENTRY_HEAD and raw[1] < _FIXINT_END:
        return raw[1]
    try:
        parts = _parts_decoder.decode(raw)
        return _version_decoder.decode(parts[0]) if parts else ENTRY_VERSION
    except MALFORMED:
        return ENTRY_VERSION


def _check_entry_version(version: int) -> None:
    if version not in ENTRY_VERSIONS_READABLE:
        known = " and ".join(map(str, ENTRY_VERSIONS_READABLE))
        raise UnsupportedVersion(f"entry version {version}, this node knows {known}")


def checked_bytes(call: Call) -> bytes:
    """Return the bytes of a call, `[tag, field, …]`; refuse one that no node would execute.

    Some of what is wrong, like a map or too long an array, ends the node's connection, and with it
    every other call on it. A value that was encoded and decoded again is what a node would see.

    Raises:
        PayloadTooLarge, InvalidRequest: As `requests.call_of`.
        TypeError, ValueError, OverflowError: A value has no form on the wire.
    """
    raw = encode(call)
    try:
        _decoders[type(call)].decode(raw)
    except MALFORMED as error:
        raise invalid(f"{METHOD_OF[type(call)]}: {error}") from None
    return raw


def request_of(call_id: int, method: str, timeout_ms: int, raw: bytes) -> bytes:
    """Return one native request frame for a call's bytes.

    Its params are the call's fields behind `timeout_ms`, which takes the place of the tag: so the
    fields are copied as they are. The array's head and the tag have one byte each.
    """
    begin = (b"\x94\x00", encode(call_id), _METHOD_BYTES[method], raw[:1], encode(timeout_ms))
    return b"".join((*begin, memoryview(raw)[2:]))


def request_bytes(call_id: int, timeout_ms: int, call: Call) -> bytes:
    """Return one native request frame for a call."""
    return request_of(call_id, METHOD_OF[type(call)], timeout_ms, encode(call))


def error_to_wire(error: RaftqError) -> list[object]:
    """Return an error as `[code, message, facts]`."""
    return [error.code, error.message, dict(error.facts)]


def error_from_wire(raw: object) -> RaftqError:
    """Return the typed error for `[code, message, facts]`; tolerant of a newer server."""
    try:
        code, message, facts = msgspec.convert(raw, tuple[str, str, dict[str, Fact]])
    except msgspec.ValidationError as error:
        return error_from_code("internal", f"malformed error from the server: {error}", {})
    return error_from_code(code, message, facts)


def new_reply_unpacker() -> msgpack.Unpacker:
    """Return the streaming unpacker of a client's side, with every limit set explicitly."""
    return msgpack.Unpacker(
        raw=False,
        use_list=True,
        strict_map_key=True,
        max_buffer_size=limits.REPLY_BYTES_MAX,
        max_str_len=limits.RESULT_BYTES_MAX,
        max_bin_len=limits.REQUEST_BYTES_MAX,
        max_array_len=limits.TASKS_PER_ENQUEUE_MAX,
        max_map_len=limits.FACTS_MAX,
        max_ext_len=0,
    )


def invalid(text: str) -> InvalidRequest | PayloadTooLarge:
    """Return the error of a malformed call from msgspec's words about it."""
    if f"of length <= {limits.PAYLOAD_BYTES_MAX}" in text:
        return PayloadTooLarge(
            f"a payload is over {limits.PAYLOAD_BYTES_MAX} bytes; keep large data elsewhere and "
            f"enqueue a reference to it ({text})",
            bytes_max=limits.PAYLOAD_BYTES_MAX,
        )
    if f"of length <= {limits.RESULT_BYTES_MAX}" in text:
        return PayloadTooLarge(
            f"a result is over {limits.RESULT_BYTES_MAX} bytes; keep large data elsewhere and "
            f"record a reference to it ({text})",
            bytes_max=limits.RESULT_BYTES_MAX,
        )
    return InvalidRequest(f"malformed request: {text}")
