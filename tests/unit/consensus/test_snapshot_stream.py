"""Snapshot streams accept a whole file in order, or nothing."""

from raftq.consensus.peers.messages import SnapshotPart
from raftq.consensus.raft.snapshot_stream import SnapshotReceiver, SnapshotSender

CHUNKS = [(b"aaa", True, False), (b"bb", False, False), (b"", False, True)]


def parts(sender: SnapshotSender, snapshot: tuple[int, int] = (7, 2)) -> list[SnapshotPart]:
    return [sender.part("n2", 3, chunk, snapshot) for chunk in CHUNKS]


def receive(receiver: SnapshotReceiver, sent: list[SnapshotPart]) -> list[bool]:
    accepted: list[bool] = []
    for part in sent:
        if receiver.begins(part):
            receiver.start("n1", part)
        accepted.append(receiver.accept("n1", part))
    return accepted


def test_parts_in_order_are_accepted() -> None:
    sent = parts(SnapshotSender("boot"))
    assert [part.offset for part in sent] == [0, 3, 5]
    assert receive(SnapshotReceiver(), sent) == [True, True, True]


def test_a_missing_part_ends_the_stream() -> None:
    sent = parts(SnapshotSender("boot"))
    assert receive(SnapshotReceiver(), [sent[0], sent[2]]) == [True, False]


def test_parts_of_two_streams_do_not_mix() -> None:
    old, new = parts(SnapshotSender("boot-1")), parts(SnapshotSender("boot-2"))
    assert receive(SnapshotReceiver(), [old[0], new[1], old[2]]) == [True, False, False]


def test_a_repeated_part_ends_the_stream() -> None:
    sent = parts(SnapshotSender("boot"))
    assert receive(SnapshotReceiver(), [sent[0], sent[1], sent[1], sent[2]])[-2:] == [False, False]


def test_a_stream_that_began_on_an_earlier_connection_fits_nowhere() -> None:
    sender = SnapshotSender("boot")
    first = sender.part("n2", 3, CHUNKS[0], (7, 2))
    sender.forget("n2")
    rest = [sender.part("n2", 3, chunk, (7, 2)) for chunk in CHUNKS[1:]]
    assert receive(SnapshotReceiver(), [first, *rest]) == [True, False, False]
    assert not any(part.is_last for part in rest)


def test_the_identity_is_the_one_at_the_first_part() -> None:
    sender = SnapshotSender("boot")
    sender.part("n2", 3, CHUNKS[0], (7, 2))
    assert sender.part("n2", 3, CHUNKS[1], (90, 5)).snapshot_index == 7
