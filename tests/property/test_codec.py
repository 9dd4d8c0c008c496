"""Every message survives its bytes, and no bytes raise anything but a request error."""

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.message_strategies import messages_of

from raftq.consensus.peers.messages import PeerMessage, decode_message, encode_frame
from raftq.protocol import codec
from raftq.protocol.calls import Call
from raftq.protocol.commands import Command, Entry
from raftq.protocol.errors import RequestError
from raftq.protocol.fields import TimeoutMs
from raftq.protocol.replies import HelloReply, Reply
from raftq.protocol.requests import RequestReader, call_of, read_request
from raftq.protocol.versions import ENTRY_VERSION

calls = messages_of(Call).map(lambda value: cast(Call, value))
replies = messages_of(Reply).map(lambda value: cast(Reply, value))
entries = messages_of(Entry).map(lambda value: cast(Entry, value))
peer_messages = messages_of(PeerMessage).map(lambda value: cast(PeerMessage, value))
timeouts_ms = messages_of(TimeoutMs).map(lambda value: cast(int, value))


@given(calls)
def test_a_call_survives_its_bytes(call: Call) -> None:
    assert codec.decode_call(codec.encode(call)) == call


@given(timeouts_ms, calls)
def test_a_call_survives_the_native_protocol(timeout_ms: int, call: Call) -> None:
    (raw,) = RequestReader().feed(codec.request_bytes(7, timeout_ms, call))
    request = read_request(raw)
    assert (request.kind, request.call_id) == (0, 7)
    name = codec.METHOD_OF[type(call)]
    assert call_of(bytes(request.method), request.params) == (name, timeout_ms, call)


@given(replies)
def test_a_reply_survives_its_bytes(reply: Reply) -> None:
    assert codec.decode_reply(codec.encode(reply)) == reply


@given(entries)
def test_an_entry_survives_its_bytes(entry: Entry) -> None:
    ours = Entry(ENTRY_VERSION, entry.lease_advance_ms, entry.wall_at_ms, entry.commands)
    assert codec.decode_entry(codec.encode(ours)) == ours


@given(messages_of(Command))
def test_a_command_is_a_call_or_the_command_form_of_one(command: object) -> None:
    raw = codec.encode(command)
    entry = codec.decode_entry(b"\x94\x01\x00\x00\x91" + raw)
    assert entry.commands == [command]


@given(peer_messages)
def test_a_peer_message_survives_its_frame(message: PeerMessage) -> None:
    frame = encode_frame(message)
    assert int.from_bytes(frame[:4], "little") == len(frame) - 4
    assert decode_message(memoryview(frame)[4:]) == message


@given(messages_of(HelloReply))
def test_a_client_s_unpacker_takes_every_hello(hello: object) -> None:
    unpacker = codec.new_reply_unpacker()
    unpacker.feed(codec.encode([1, 0, None, hello]))
    assert isinstance(unpacker.unpack(), list)


DECODERS = {
    "call": codec.decode_call,
    "reply": codec.decode_reply,
    "entry": codec.decode_entry,
    "peer": decode_message,
}
JUNK = [
    b"",
    b"\xc1",
    b"\xc0",
    b"\x90",
    b"\x91\x01",
    b"\x92\x09\xa1\xff",
    b"\x91" * 100_000,
    b"\x92\x01" + b"\x91" * 100_000,
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xc7\x0c\xff" + b"\xff" * 12,
    b"\x92\xcf" + b"\xff" * 8 + b"\x01",
]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("junk", JUNK)
def test_junk_is_a_request_error(decoder: str, junk: bytes) -> None:
    with pytest.raises(RequestError):
        DECODERS[decoder](junk)


@pytest.mark.parametrize("decoder", DECODERS)
@given(data=st.data())
def test_damaged_bytes_give_a_message_or_a_request_error(decoder: str, data: st.DataObject) -> None:
    good = data.draw(st.one_of(calls, replies, entries, peer_messages))
    raw = bytearray(codec.encode(good))
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    length = data.draw(st.integers(0, len(raw)))
    try:
        DECODERS[decoder](bytes(raw[:length]))
    except RequestError as error:
        assert error.message
