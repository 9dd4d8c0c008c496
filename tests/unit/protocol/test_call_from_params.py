"""Native requests: what is malformed is refused with words, never with another exception."""

from typing import cast

import msgpack
import pytest

from raftq.protocol import codec, limits
from raftq.protocol.errors import InvalidRequest, PayloadTooLarge, UnknownMethod
from raftq.protocol.messages import ClusterCall, Enqueue, NewTask, QueueCall

ID = bytes(16)
NAN = float("nan")
INFINITY = float("inf")


def test_good_params_become_a_typed_call() -> None:
    timeout_ms, call = codec.call_from_params("enqueue", [1_000, "q", [[ID, b"payload"]]])
    assert timeout_ms == 1_000
    assert call == Enqueue("q", [NewTask(ID, b"payload")])
    assert codec.call_from_params("cluster", [1]) == (1, ClusterCall())
    assert codec.call_from_params("queue", [1, "q"]) == (1, QueueCall("q"))


@pytest.mark.parametrize("method", ["", "nothing", "ENQUEUE", None, 5, b"enqueue", ["enqueue"], {}])
def test_an_unknown_method_is_told_which_there_are(method: object) -> None:
    with pytest.raises(UnknownMethod, match="enqueue, lease"):
        codec.call_from_params(method, [1])


def test_a_long_method_name_is_cut_in_the_message() -> None:
    with pytest.raises(UnknownMethod) as caught:
        codec.call_from_params("x" * 1_000_000, [1])
    assert len(caught.value.message) < 500


@pytest.mark.parametrize("params", [None, 5, "x", b"x", {}, {"timeout_ms": 1}, [], (1,)])
def test_params_must_be_an_array_with_a_timeout(params: object) -> None:
    with pytest.raises(InvalidRequest):
        codec.call_from_params("cluster", params)


@pytest.mark.parametrize(
    "timeout_ms",
    [
        0,
        -1,
        limits.TIMEOUT_MS_MAX + 1,
        2**64,
        -(2**63),
        1.0,
        NAN,
        INFINITY,
        True,
        None,
        "1",
        [],
        {},
    ],
)
def test_a_timeout_out_of_range_or_of_another_type_is_refused(timeout_ms: object) -> None:
    with pytest.raises(InvalidRequest):
        codec.call_from_params("cluster", [timeout_ms])


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


BAD: list[tuple[str, list[object]]] = [
    ("enqueue", ["q"]),
    ("enqueue", [5, [[ID, b""]]]),
    ("enqueue", [b"q", [[ID, b""]]]),
    ("enqueue", ["", [[ID, b""]]]),
    ("enqueue", ["x" * 129, [[ID, b""]]]),
    ("enqueue", ["a b", [[ID, b""]]]),
    ("enqueue", ["q\n", [[ID, b""]]]),
    ("enqueue", ["ä", [[ID, b""]]]),
    ("enqueue", ["q", None]),
    ("enqueue", ["q", {}]),
    ("enqueue", ["q", [{}]]),
    ("enqueue", ["q", [[ID]]]),
    ("enqueue", ["q", [["00000000000000000000000000000000", b""]]]),
    ("enqueue", ["q", [[ID[:-1], b""]]]),
    ("enqueue", ["q", [[ID, "text"]]]),
    ("enqueue", ["q", [[ID, b"", 10]]]),
    ("enqueue", ["q", [[ID, b"", -1]]]),
    ("enqueue", ["q", [[ID, b"", 5.0]]]),
    ("enqueue", ["q", [[ID, b"", NAN]]]),
    ("enqueue", ["q", [[ID, b"", True]]]),
    ("enqueue", ["q", [[ID, b"", 5, limits.DELAY_MS_MAX + 1]]]),
    ("enqueue", ["q", [[ID, b"", 5, 2**64]]]),
    ("enqueue", ["q", [[ID, b"", 5, 0, 0]]]),
    ("enqueue", ["q", [[ID, b"", 5, 0, limits.ATTEMPTS_MAX_LIMIT + 1]]]),
    ("enqueue", ["q", [[ID, b"", 5, 0, 1, "more"]]]),
    ("enqueue", ["q", [[ID, b""]], "more"]),
    ("enqueue", ["q", [[ID, b""]] * (limits.TASKS_PER_ENQUEUE_MAX + 1)]),
    ("enqueue", ["q", nested(5_000)]),
    ("lease", [[], 1, 1_000, "w", "r"]),
    ("lease", [["q"] * (limits.QUEUES_PER_LEASE_MAX + 1), 1, 1_000, "w", "r"]),
    ("lease", [["q"], 0, 1_000, "w", "r"]),
    ("lease", [["q"], limits.LEASES_PER_CALL_MAX + 1, 1_000, "w", "r"]),
    ("lease", [["q"], 1, limits.LEASE_MS_MIN - 1, "w", "r"]),
    ("lease", [["q"], 1, limits.LEASE_MS_MAX + 1, "w", "r"]),
    ("lease", [["q"], 1, 1_000, "w w", "r"]),
    ("lease", [["q"], 1, 1_000, "w", ""]),
    ("lease", [["q"], 1, 1_000, "w", "r", limits.WAIT_MS_MAX + 1]),
    ("ack", [[[0]]]),
    ("ack", [[[limits.TOKEN_MAX + 1]]]),
    ("ack", [[[-1]]]),
    ("ack", [[[1, "text"]]]),
    ("ack", [[]]),
    ("ack", [[[1]] * (limits.SETTLEMENTS_PER_CALL_MAX + 1)]),
    ("fail", [[[1]]]),
    ("fail", [[[1, b"bytes"]]]),
    ("fail", [[[1, "x" * (limits.ERROR_TEXT_CHARACTERS_MAX + 1)]]]),
    ("requeue", [[[1, -1]]]),
    ("extend", [[[1]]]),
    ("extend", [[[1, 99]]]),
    ("task", [ID, "sometimes"]),
    ("task", [ID.hex()]),
    ("queue", ["q", None]),
    ("cluster", ["more"]),
    ("queue", [msgpack.unpackb(b"\xd6\xff\x00\x00\x00\x00")]),
]


@pytest.mark.parametrize(("method", "fields"), BAD)
def test_bad_fields_are_refused(method: str, fields: list[object]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        codec.call_from_params(method, [1_000, *fields])
    assert len(caught.value.message) < 1_000


def test_the_message_names_the_position_of_the_bad_field() -> None:
    with pytest.raises(InvalidRequest, match=r"enqueue: .*\$\[2\]\[0\]\[2\]"):
        codec.call_from_params("enqueue", [1_000, "q", [[ID, b"", 10]]])


@pytest.mark.parametrize(
    ("method", "fields", "bytes_max"),
    [
        (
            "enqueue",
            ["q", [[ID, bytes(limits.PAYLOAD_BYTES_MAX + 1)]]],
            limits.PAYLOAD_BYTES_MAX,
        ),
        ("ack", [[[1, bytes(limits.RESULT_BYTES_MAX + 1)]]], limits.RESULT_BYTES_MAX),
    ],
)
def test_an_oversized_payload_has_an_error_of_its_own(
    method: str, fields: list[object], bytes_max: int
) -> None:
    with pytest.raises(PayloadTooLarge) as caught:
        codec.call_from_params(method, [1_000, *fields])
    assert caught.value.facts == {"bytes_max": bytes_max}


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("enqueue", ["x" * 128, [[ID, bytes(limits.PAYLOAD_BYTES_MAX), 9, limits.DELAY_MS_MAX]]]),
        ("enqueue", ["A.z_-9", [[ID, b"", 0, 0, limits.ATTEMPTS_MAX_LIMIT]]]),
        ("lease", [["q"] * limits.QUEUES_PER_LEASE_MAX, 1_000, limits.LEASE_MS_MAX, "a:/@", "r"]),
        ("ack", [[[limits.TOKEN_MAX, bytes(limits.RESULT_BYTES_MAX)]]]),
        ("fail", [[[1, "ä" * limits.ERROR_TEXT_CHARACTERS_MAX]]]),
        ("extend", [[[1, limits.LEASE_MS_MIN]]]),
    ],
)
def test_what_stands_on_the_limit_is_accepted(method: str, fields: list[object]) -> None:
    timeout_ms, _ = codec.call_from_params(method, [limits.TIMEOUT_MS_MAX, *fields])
    assert timeout_ms == limits.TIMEOUT_MS_MAX


def test_the_request_unpacker_takes_the_largest_allowed_batch() -> None:
    unpacker = codec.new_request_unpacker()
    ids = [[number.to_bytes(16, "big"), b""] for number in range(limits.TASKS_PER_ENQUEUE_MAX)]
    unpacker.feed(codec.encode([0, 1, "enqueue", [1_000, "q", ids]]))
    message = cast("list[object]", unpacker.unpack())
    assert len(message) == 4


@pytest.mark.parametrize(
    "frame",
    [b"\x81\x01\x02", b"\xd6\x05\x00\x00\x00\x00", b"\xdd\xff\xff\xff\xff", b"\xc1", b"\xa1\xff"],
    ids=["map", "extension", "huge array", "reserved byte", "bad UTF-8"],
)
def test_the_request_unpacker_refuses_what_no_call_contains(frame: bytes) -> None:
    unpacker = codec.new_request_unpacker()
    unpacker.feed(frame)
    with pytest.raises((ValueError, msgpack.UnpackException)):
        unpacker.unpack()


def test_the_request_unpacker_buffers_no_more_than_one_request() -> None:
    unpacker = codec.new_request_unpacker()
    with pytest.raises(msgpack.BufferFull):
        unpacker.feed(bytes(limits.REQUEST_BYTES_MAX + 1))
