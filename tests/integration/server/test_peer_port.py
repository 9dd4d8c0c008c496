"""Garbage and strangers on the peer port change nothing, and the cluster goes on."""

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

import msgspec
import pytest
from tests.support.nodes import call, new_queue, raw_socket, read_to_end, state_hash, wait_until

from raftq.cli.local_cluster import LocalCluster, NodeProcess
from raftq.consensus.peers.messages import (
    AppendEntries,
    ForwardedCall,
    PeerHello,
    PeerMessage,
    RequestVote,
    encode_frame,
)
from raftq.protocol import codec, limits
from raftq.protocol.calls import ClusterCall
from raftq.protocol.versions import PEER_PROTOCOL_VERSION

GIB = 1024**3


@pytest.fixture(autouse=True)
def undisturbed(cluster: LocalCluster) -> Iterator[None]:
    """The state is the same afterwards, and every node accepts tasks."""
    before = state_hash(cluster)
    yield
    assert state_hash(cluster) == before
    cluster.wait_ready()
    for node in cluster.nodes:
        path = f"/v1/queues/{new_queue()}/tasks"
        assert call(node, "POST", path, {"tasks": [{"payload": "x"}]}).status == 201


def say(node: NodeProcess, data: bytes) -> bytes:
    """Send bytes to the peer port of a node and return all that it answers."""
    with raw_socket(node.peer) as sock:
        with suppress(OSError):  # The node may have closed the connection already.
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        return read_to_end(sock)


def frame(message: PeerMessage) -> bytes:
    return bytes(encode_frame(message))


def hello(
    node: NodeProcess,
    sender: str = "n9",
    receiver: str | None = None,
    version: int = PEER_PROTOCOL_VERSION,
    cluster_id: str | None = None,
) -> bytes:
    return frame(PeerHello(version, sender, receiver or node.id, cluster_id, "boot", {}))


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\x00" * 1_000,
        b"\xff" * 100_000,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        struct.pack("<I", 0),
        struct.pack("<I", 10) + b"short",
        struct.pack("<I", 4) + b"\x93\x00\x01\x02",
        struct.pack("<I", 5_000) + bytes(5_000),
        struct.pack("<I", 2 * GIB) + bytes(1_000),
        struct.pack("<I", 3) + b"\xc1\xc1\xc1",
        struct.pack("<I", 2_000) + b"\x91" * 2_000,
    ],
)
def test_garbage_is_answered_with_a_closed_connection(
    cluster: LocalCluster, garbage: bytes
) -> None:
    for node in cluster.nodes:
        assert say(node, garbage) == b""


def test_a_message_before_hello_is_refused(node: NodeProcess) -> None:
    vote = RequestVote(10**6, 10**6, 10**6, False)
    raw_call = codec.encode(ClusterCall())
    for message in (vote, ForwardedCall(1, 1_000, msgspec.Raw(raw_call))):
        assert say(node, frame(message)) == b""


def test_a_wrong_hello_is_refused(node: NodeProcess, cluster: LocalCluster) -> None:
    peer = next(each.id for each in cluster.nodes if each is not node)
    vote = frame(RequestVote(10**6, 10**6, 10**6, True))
    for wrong in (
        hello(node, "n9"),
        hello(node, node.id),
        hello(node, peer, receiver=peer),
        hello(node, peer, version=99),
        hello(node, peer, cluster_id="f" * 32),
    ):
        assert say(node, wrong + vote) == b""
    assert cluster.wait_leader().view() is not None
    view = node.view()
    assert view is not None and view["term"] != 10**6


def test_the_reason_of_a_refusal_is_logged_once(cluster: LocalCluster) -> None:
    node = cluster.nodes[0]
    for _ in range(5):
        say(node, hello(node, "nobody-knows-me"))
    lines = [line for line in node.log.read_text().splitlines() if "nobody-knows-me" in line]
    assert len(lines) == 1 and "peer_refused" in lines[0]


def test_garbage_from_one_that_poses_as_a_peer_only_costs_that_connection(
    cluster: LocalCluster,
) -> None:
    node, peer = cluster.nodes[0], cluster.nodes[1]
    view = node.view()
    assert view is not None
    introduction = hello(node, peer.id, cluster_id=str(view["cluster_id"]))
    for garbage in (
        struct.pack("<I", limits.PEER_FRAME_BYTES_MAX + 1) + bytes(1_000),
        struct.pack("<I", 3) + b"\xc1\xc1\xc1",
        frame(AppendEntries(1, 0, 0, 0, []))[:-1],
    ):
        say(node, introduction + garbage)
        wait_until(lambda: _reaches(node, peer), "the link of the real peer")


def _reaches(node: NodeProcess, peer: NodeProcess) -> bool:
    nodes = call(node, "GET", "/v1/cluster").json["nodes"]
    return any(each["id"] == peer.id and each["reachable"] for each in nodes)
