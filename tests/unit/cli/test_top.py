"""`raftq top`: rates from looks, and how they are drawn on screens of any size."""

import asyncio
from collections.abc import Sequence

import pytest
from rich.console import Console
from tests.support.fake_node import FakeCluster, Silent
from tests.support.fake_node import run as run_fake

from raftq.cli.top.drawing import draw, number, rate
from raftq.cli.top.nodes import Nodes, NodeView, views
from raftq.cli.top.sampling import Look, Looks, View, look
from raftq.client import AsyncClient, QueueSettings, QueueStatus
from raftq.client.credentials import Credentials
from raftq.protocol.calls import ClusterCall, QueuesCall
from raftq.protocol.statuses import ClusterStatus, NodeStatus, QueueList

AT_MS = 1_795_000_000_000
NODES = [
    NodeView("n1", "leader", True, 1_204, 0),
    NodeView("n2", "follower", False, 4, 1_200),
    NodeView("n3", "unknown", True, None, None),
]


def queue(
    name: str, enqueued: int = 0, *, paused: bool = False, oldest: int | None = None, **counts: int
) -> QueueStatus:
    return QueueStatus(name, enqueued, counts, QueueSettings(paused=paused), 0, oldest)


def seen(at: float, *queues: QueueStatus, leader: str | None = "n1") -> Look:
    return Look(at, AT_MS, "5f0c0d3e9ab1", leader, 3, 1_204, NODES, list(queues))


def drawn(view: View, width: int, height: int | None = None, trouble: str | None = None) -> str:
    console = Console(width=width, height=height or 100, color_system=None)
    with console.capture() as capture:
        console.print(draw(view, width, height, trouble))
    return capture.get()


# ---------------------------------------------------------------- rates


def test_rates_are_those_between_the_first_and_the_newest_look() -> None:
    looks = Looks()
    first = looks.add(seen(0.0, queue("a", 100, done=50)))
    assert (first.enqueued_per_second, first.done_per_second) == (0, 0)
    second = looks.add(seen(2.0, queue("a", 140, done=60)))
    assert (second.enqueued_per_second, second.done_per_second) == (20, 5)


def test_rates_forget_what_is_older_than_five_seconds() -> None:
    looks = Looks()
    looks.add(seen(0.0, queue("a", 0)))
    views = [looks.add(seen(float(at), queue("a", 1_000))) for at in range(1, 11)]
    assert (views[0].enqueued_per_second, views[-1].enqueued_per_second) == (1_000, 0)


def test_a_new_queue_began_with_nothing_and_counts_that_fall_are_no_rate() -> None:
    looks = Looks()
    looks.add(seen(0.0, queue("a", 100, done=9)))
    view = looks.add(seen(1.0, queue("a", 90, done=8), queue("b", 5, done=3)))
    rates = {each.name: (each.enqueued_per_second, each.done_per_second) for each in view.queues}
    assert rates == {"a": (0, 0), "b": (5, 3)}


def test_queues_with_the_most_to_do_come_first_and_are_summed() -> None:
    view = Looks().add(
        seen(
            0.0,
            queue("idle", 9, done=9, dead=1),
            queue("busy", 9, ready=5, leased=2, scheduled=1, blocked=1, oldest=AT_MS - 3_000),
        )
    )
    assert [(each.name, each.depth) for each in view.queues] == [("busy", 9), ("idle", 0)]
    assert (view.depth, view.count("dead"), view.oldest_ready_ms) == (9, 1, 3_000)


# ---------------------------------------------------------------- nodes


def status(node: str, applied: int, commit: int, roles: Sequence[str]) -> ClusterStatus:
    nodes = [
        NodeStatus(f"n{number}", f"127.0.0.1:{number}", "", "", role, True)
        for number, role in enumerate(roles, 1)
    ]
    return ClusterStatus("c", node, "n1", 1, commit, applied, "", nodes)


def test_a_node_is_as_far_behind_as_any_node_knows_of_commits() -> None:
    roles = ("leader", "follower", "follower")
    leader, follower = status("n1", 9, 10, roles), status("n2", 6, 7, roles)
    found, committed = views(leader.nodes, [leader, follower, None])
    assert committed == 10
    assert [(each.applied_index, each.behind) for each in found] == [(9, 1), (6, 4), (None, None)]
    assert [each.role for each in found] == list(roles)


def test_every_node_is_asked_itself_and_one_that_is_silent_holds_nobody_up() -> None:
    async def main() -> Look:
        async with FakeCluster() as cluster, AsyncClient(cluster.addresses) as client:
            members = cluster.greeting("n1").nodes
            for at, node in enumerate(cluster.nodes):
                told = ClusterStatus("c", node.id, "n1", 1, 10, 10 - at, "", members)
                node.fallback = lambda received, told=told: (
                    QueueList([queue("mail", 3, ready=3)])
                    if isinstance(received.call, QueuesCall)
                    else told
                )
            cluster["n3"].fallback = lambda received: Silent()
            nodes = Nodes(Credentials())
            try:
                found = await look(client, nodes, 5.0)
                before = cluster["n2"].connections
                assert await look(client, nodes, 5.0) != found
                asked = [node.calls.count(ClusterCall()) for node in cluster.nodes]
                assert min(asked) >= 2
                assert cluster["n2"].connections == before, "connections are kept"
                return found
            finally:
                await nodes.close()

    found = run_fake(main)
    assert [each.behind for each in found.nodes] == [0, 1, None]
    assert (found.leader, found.commit_index) == ("n1", 10)
    assert [each.queue for each in found.queues] == ["mail"]
    asyncio.set_event_loop(None)


# ---------------------------------------------------------------- drawing


def busy() -> View:
    looks = Looks()
    many = [queue(f"queue-{at:03}", 4, ready=2) for at in range(40)]
    long = queue(
        "reports-of-the-night-that-take-very-long-indeed",
        1_234_567,
        paused=True,
        oldest=AT_MS - 3_600_000_000,
        ready=1_234_567,
        scheduled=4_567_890,
        blocked=99_999,
        leased=1_000,
        dead=123_456,
    )
    looks.add(seen(0.0, *many))
    return looks.add(seen(1.0, long, *many))


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
def test_no_line_is_longer_than_the_screen_and_no_number_is_cut(width: int) -> None:
    lines = drawn(busy(), width).splitlines()
    assert max(len(line) for line in lines) <= width
    (row,) = (line for line in lines if line.startswith("repor"))
    assert "1.23M" in row and "paused" in row and row.count("…") == (width < 120)


def test_a_wide_screen_has_every_column_and_a_narrow_one_the_important_ones() -> None:
    columns = ["queue", "ready", "leased", "sched.", "blocked", "dead", "in/s", "done/s", "oldest"]
    for width in (80, 140):
        header = next(line for line in drawn(busy(), width).splitlines() if "ready" in line)
        assert header.split() == columns
    header = next(line for line in drawn(busy(), 44).splitlines() if "ready" in line)
    assert header.split() == ["queue", "ready", "dead", "in/s", "done/s"]


@pytest.mark.parametrize("height", [12, 24, 50])
def test_the_view_fits_the_height_of_the_screen(height: int) -> None:
    lines = drawn(busy(), 80, height, "no node answers").splitlines()
    assert len(lines) <= max(height, 14), "three queues are shown at any rate"
    shown = sum(line.startswith(("queue-", "repor")) for line in lines)
    assert (f"and {41 - shown} more with less to do" in lines) == (shown < 41)


def test_leader_nodes_and_trouble_are_told() -> None:
    text = drawn(busy(), 80, 24, "no node answers: refused")
    assert "leader n1" in text and "no node answers: refused" in text
    rows = {line.split()[0]: line for line in text.splitlines() if line.startswith("n")}
    assert rows["n1"].split() == ["n1", "leader", "1,204", "0"]
    assert rows["n2"].split() == ["n2", "follower,", "learner", "4", "1,200"]
    assert "no answer" in rows["n3"]
    assert "no leader" in drawn(Looks().add(seen(0.0, leader=None)), 80)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (99_999, "99,999"),
        (100_000, "100k"),
        (999_999, "999k"),
        (1_000_000, "1.00M"),
        (99_999_999, "100.00M"),
        (100_000_000, "100M"),
    ],
)
def test_numbers_stay_short(value: int, shown: str) -> None:
    assert number(value) == shown


def test_small_rates_have_a_decimal() -> None:
    assert [rate(each) for each in (0.0, 0.25, 99.94, 100.0, 1_234.5)] == [
        *("0", "0.2", "99.9"),
        *("100", "1,234"),
    ]
