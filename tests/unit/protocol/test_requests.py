"""Native requests: what is malformed is refused with words, never with another exception."""

import tracemalloc

import msgpack
import pytest

from raftq.protocol import codec, limits, requests
from raftq.protocol.calls import Call, ClusterCall, QueueCall
from raftq.protocol.commands import Enqueue
from raftq.protocol.errors import InvalidRequest, PayloadTooLarge, UnknownMethod
from raftq.protocol.options import NewTask
from raftq.server.hello import parse_hello

ID = bytes(16)
NAN = float("nan")
INFINITY = float("inf")


def call_of(method: object, params: object) -> tuple[int, Call]:
    """Return (timeout_ms, call) of a request with these fields."""
    name, timeout_ms, call = requests.call_of(packed(method), packed(params))
    assert name == method
    return timeout_ms, call


def packed(value: object) -> bytes:
    data = msgpack.packb(value)
    assert isinstance(data, bytes)
    return data


def test_good_params_become_a_typed_call() -> None:
    timeout_ms, call = call_of("enqueue", [1_000, "q", [[ID, b"payload"]]])
    assert timeout_ms == 1_000
    assert call == Enqueue("q", [NewTask(ID, b"payload")])
    assert call_of("cluster", [1]) == (1, ClusterCall())
    assert call_of("queue", [1, "q"]) == (1, QueueCall("q"))


@pytest.mark.parametrize("method", ["", "nothing", "ENQUEUE", None, 5, b"enqueue", ["enqueue"], {}])
def test_an_unknown_method_is_told_which_there_are(method: object) -> None:
    with pytest.raises(UnknownMethod, match="enqueue, lease"):
        call_of(method, [1])


def test_a_long_method_name_is_cut_in_the_message() -> None:
    with pytest.raises(UnknownMethod) as caught:
        call_of("x" * 1_000_000, [1])
    assert len(caught.value.message) < 500


@pytest.mark.parametrize("params", [None, 5, "x", b"x", {}, {"timeout_ms": 1}, []])
def test_params_must_be_an_array_with_a_timeout(params: object) -> None:
    with pytest.raises(InvalidRequest):
        call_of("cluster", params)


@pytest.mark.parametrize(
    "timeout_ms",
    [
        0,
        -1,
        limits.TIMEOUT_MS_MAX + 1,
        2**64 - 1,
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
        call_of("cluster", [timeout_ms])


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
    ("enqueue", ["q", [[ID, b"", 5, 2**64 - 1]]]),
    ("enqueue", ["q", [[ID, b"", 5, 0, -1]]]),
    ("enqueue", ["q", [[ID, b"", 5, 0, limits.ATTEMPTS_MAX_LIMIT + 1]]]),
    ("enqueue", ["q", [[ID, b"", 5, 0, 1, "more"]]]),
    ("enqueue", ["q", [[ID, b""]], "more"]),
    ("enqueue", ["q", [[ID, b""]] * (limits.TASKS_PER_ENQUEUE_MAX + 1)]),
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
        call_of(method, [1_000, *fields])
    assert len(caught.value.message) < 1_000


def test_the_message_names_the_position_of_the_bad_field() -> None:
    with pytest.raises(InvalidRequest, match=r"enqueue: .*\$\[2\]\[0\]\[2\]"):
        call_of("enqueue", [1_000, "q", [[ID, b"", 10]]])


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
        call_of(method, [1_000, *fields])
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
    timeout_ms, _ = call_of(method, [limits.TIMEOUT_MS_MAX, *fields])
    assert timeout_ms == limits.TIMEOUT_MS_MAX


def test_fields_nested_too_deep_are_refused() -> None:
    fields = b"\x93\x01\xa1q" + b"\x91" * 5_000 + b"\x01"
    with pytest.raises(InvalidRequest):
        requests.call_of(codec.encode("enqueue"), fields)


# ---------------------------------------------------------------- the stream

GOOD = [
    codec.request_bytes(1, 1_000, Enqueue("q", [NewTask(ID, b"payload" * 50)])),
    b"\xdc\x00\x04\x00\x02\xa7cluster\x91\x01",  # The same kinds of array, written longer.
    b"\xdd\x00\x00\x00\x04\x00\x03\xd9\x05queue\x92\x01\xa1q",
    codec.request_bytes(2**64 - 1, 1, QueueCall("q")),
]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100, 1_000_000])
def test_requests_are_found_however_their_bytes_arrive(size: int) -> None:
    stream = b"".join(GOOD * 3)
    reader = requests.RequestReader()
    found: list[bytes] = []
    for at in range(0, len(stream), size):
        found += reader.feed(stream[at : at + size])
    assert found == GOOD * 3


def test_a_method_may_be_written_in_any_way_that_is_text() -> None:
    request = requests.read_request(GOOD[2])
    found = requests.call_of(bytes(request.method), request.params)
    assert found == ("queue", 1, QueueCall("q"))


def test_the_largest_allowed_batch_is_one_request() -> None:
    ids = [[number.to_bytes(16, "big"), b""] for number in range(limits.TASKS_PER_ENQUEUE_MAX)]
    frame = codec.encode([0, 1, "enqueue", [1_000, "q", ids]])
    (found,) = requests.RequestReader().feed(frame)
    request = requests.read_request(found)
    _, _, call = requests.call_of(bytes(request.method), request.params)
    assert isinstance(call, Enqueue) and len(call.tasks) == limits.TASKS_PER_ENQUEUE_MAX


@pytest.mark.parametrize(
    "stream",
    [
        b"\x81\x01\x02",
        b"\xd6\x05\x00\x00\x00\x00",
        b"\xdd\xff\xff\xff\xff",
        b"\xdc\x00\x05",
        b"\xc1",
        b"\x93",
        b"\x95",
        b"\xa1\xff",
        b"\x94\x00\x01\xa7cluster\xc1",
        b"\x94" * 100_000,
    ],
    ids=[
        "map",
        "extension",
        "huge array",
        "five",
        "reserved byte",
        "array of three",
        "array of five",
        "text",
        "reserved byte inside",
        "nested too deep",
    ],
)
def test_what_is_no_request_is_refused_at_its_first_bytes(stream: bytes) -> None:
    with pytest.raises(InvalidRequest):
        requests.RequestReader().feed(stream)


def test_no_more_than_one_request_is_kept() -> None:
    reader = requests.RequestReader()
    piece = bytes(limits.MIB)
    reader.feed(b"\x94\x00\x01\xa7enqueue\xc6\x7f\xff\xff\xff")
    with pytest.raises(PayloadTooLarge):
        for _ in range(18):
            reader.feed(piece)


HOLLOW = b"\xdc\xff\xff" + b"\x90" * 0xFFFF
"""65,535 empty arrays in 64 KiB."""
BOMB = b"\xdc\x00\xfe" + HOLLOW * 254
"""Sixteen million empty arrays in 16 MiB: as Python objects they would take a GiB."""


@pytest.mark.parametrize("method", ["enqueue", "lease", "ack", "cluster", "hello", "nothing", None])
@pytest.mark.parametrize("where", ["params", "field", "item"])
def test_a_request_of_nothing_but_arrays_takes_no_more_memory_than_its_bytes(
    method: str | None, where: str
) -> None:
    named = BOMB if method is None else codec.encode(method)
    params = {"params": BOMB, "field": b"\x93\x01\xa1q" + BOMB, "item": b"\x93\x01\xa1q\x91" + BOMB}
    frame = b"\x94\x00\x01" + named + (params[where] if method else b"\x91\x01")
    reader = requests.RequestReader()
    tracemalloc.start()
    try:
        with pytest.raises((InvalidRequest, UnknownMethod)):
            for at in range(0, len(frame), limits.MIB):
                for raw in reader.feed(frame[at : at + limits.MIB]):
                    request = requests.read_request(raw)
                    if method == "hello":
                        parse_hello(bytes(request.params))
                    requests.call_of(bytes(request.method), request.params)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * limits.REQUEST_BYTES_MAX


def test_a_list_that_is_too_long_is_refused_before_it_is_built() -> None:
    tokens = b"\xdd\x00\x4c\x4b\x40" + b"\x91\x01" * 5_000_000
    tracemalloc.start()
    try:
        with pytest.raises(InvalidRequest):
            requests.call_of(codec.encode("ack"), b"\x92\x01" + tokens)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * limits.REQUEST_BYTES_MAX
