"""Everything that one node says to another, as typed MessagePack arrays.

A frame on the peer port is `u32 length (little-endian) | message`. The first frame of each side
is `PeerHello`; nothing else is accepted before it. There is no pickle and no message that is not
in this file.
"""

import struct
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta, Struct

from raftq.consensus.raft.probation import Memory
from raftq.protocol.codec import MALFORMED
from raftq.protocol.errors import Fact, InvalidRequest

LogIndex: TypeAlias = Annotated[int, Meta(ge=0, le=2**62)]
Term: TypeAlias = Annotated[int, Meta(ge=0, le=2**62)]
Sequence: TypeAlias = Annotated[int, Meta(ge=0, le=2**62)]
Name: TypeAlias = Annotated[str, Meta(max_length=128)]

FRAME_HEADER: Final = struct.Struct("<I")


class PeerHello(Struct, array_like=True, frozen=True, tag=0):
    """Introduce a node to a peer; `facts` are addresses that others may hand to clients.

    `members_index` is the log index of the member list that the sender goes by, `memory` tells
    whether it may have forgotten what it promised.
    """

    version: int
    sender: Name
    receiver: Name
    cluster_id: Name | None
    boot_id: Name
    facts: Annotated[dict[Name, Name], Meta(max_length=16)]
    members_index: LogIndex = 0
    memory: Memory = Memory.KEPT


class AppendEntries(Struct, array_like=True, frozen=True, tag=1):
    """Replicate entries `(command, index, term)` after the entry at `previous_index`.

    `previous_index` is None if the leader no longer has that entry.
    """

    term: Term
    commit_index: LogIndex
    previous_index: LogIndex | None
    previous_term: Term | None
    entries: list[tuple[bytes, LogIndex, Term]]


class SnapshotPart(Struct, array_like=True, frozen=True, tag=2):
    """One piece of a snapshot; `stream` and `offset` tie the pieces of one file together."""

    term: Term
    stream: tuple[Name, Sequence]
    offset: Sequence
    data: bytes
    is_last: bool
    snapshot_index: LogIndex
    snapshot_term: Term


class NextIndex(Struct, array_like=True, frozen=True, tag=3):
    """Answer to AppendEntries: `success` acknowledges everything before `next_index`;
    `reset` asks the leader to go on from there. `term` is the sender's."""

    term: Term
    next_index: LogIndex
    success: bool
    reset: bool


class RequestVote(Struct, array_like=True, frozen=True, tag=4):
    """Ask for a vote; `is_transfer` if the leader itself asked for this election."""

    term: Term
    last_index: LogIndex
    last_term: Term
    is_transfer: bool


class Vote(Struct, array_like=True, frozen=True, tag=5):
    """Grant a vote in a term."""

    term: Term


class TimeoutNow(Struct, array_like=True, frozen=True, tag=6):
    """The leader of `term` asks the receiver to start an election at once."""

    term: Term


class PreVote(Struct, array_like=True, frozen=True, tag=7):
    """Ask whether a vote would be granted, without disturbing anyone (dissertation 9.6)."""

    round: Sequence
    term: Term
    last_index: LogIndex
    last_term: Term


class PreVoteReply(Struct, array_like=True, frozen=True, tag=8):
    """Answer to PreVote, with the sender's term."""

    round: Sequence
    term: Term
    granted: bool


class Heartbeat(Struct, array_like=True, frozen=True, tag=9):
    """Prove leadership of a term; `round` numbers the heartbeats of one leader."""

    term: Term
    round: Sequence


class HeartbeatReply(Struct, array_like=True, frozen=True, tag=10):
    """Confirm that the sender still follows the leader of `term`, and tell its wall clock."""

    term: Term
    round: Sequence
    wall_at_ms: Annotated[int, Meta(ge=0, le=2**53)]


class TermNote(Struct, array_like=True, frozen=True, tag=11):
    """Tell a peer with an old term that a newer one exists."""

    term: Term


class NotMember(Struct, array_like=True, frozen=True, tag=12):
    """Tell a node that the committed member list, of log index `members_index`, lacks it."""

    cluster_id: Name
    members_index: LogIndex


class ProbationProven(Struct, array_like=True, frozen=True, tag=13):
    """The leader of `term` tells a node that forgot its promises that it may vote again."""

    term: Term


class ProbationEnded(Struct, array_like=True, frozen=True, tag=14):
    """The sender's probation is over, durably: its answers count from here on."""


class ForwardedCall(Struct, array_like=True, frozen=True, tag=20):
    """A client's call for the leader to execute; `call` is a tagged `protocol` call."""

    call_id: Sequence
    timeout_ms: Annotated[int, Meta(ge=0, le=2**31)]
    call: msgspec.Raw


class ForwardedReply(Struct, array_like=True, frozen=True, tag=21):
    """The reply to a forwarded call."""

    call_id: Sequence
    reply: msgspec.Raw


class ForwardedError(Struct, array_like=True, frozen=True, tag=22):
    """The error of a forwarded call."""

    call_id: Sequence
    code: Name
    message: str
    facts: dict[str, Fact]


class ForwardedCancel(Struct, array_like=True, frozen=True, tag=23):
    """Nobody waits for the answer to a forwarded call any more."""

    call_id: Sequence


RaftMessage: TypeAlias = AppendEntries | SnapshotPart | NextIndex | RequestVote | Vote | TimeoutNow
ElectorMessage: TypeAlias = PreVote | PreVoteReply | Heartbeat | HeartbeatReply | TermNote
MembershipMessage: TypeAlias = NotMember | ProbationProven | ProbationEnded
ForwardMessage: TypeAlias = ForwardedCall | ForwardedReply | ForwardedError | ForwardedCancel
PeerMessage: TypeAlias = (
    PeerHello | RaftMessage | ElectorMessage | MembershipMessage | ForwardMessage
)

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final[msgspec.msgpack.Decoder[PeerMessage]] = msgspec.msgpack.Decoder(PeerMessage)


def encode_frame(message: PeerMessage) -> bytearray:
    """Return a message as one frame."""
    frame = bytearray(FRAME_HEADER.size)
    _encoder.encode_into(message, frame, FRAME_HEADER.size)
    FRAME_HEADER.pack_into(frame, 0, len(frame) - FRAME_HEADER.size)
    return frame


def decode_message(body: bytes | memoryview) -> PeerMessage:
    """Return the message in a frame's body.

    Raises:
        InvalidRequest: The bytes are no message of this protocol.
    """
    try:
        return _decoder.decode(body)
    except MALFORMED as error:
        raise InvalidRequest(f"malformed peer message: {error}") from None
