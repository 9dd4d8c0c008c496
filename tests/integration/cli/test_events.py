"""`raftq events tail` against a real node."""

import json
import re
import signal
from collections.abc import Generator
from uuid import UUID, uuid4

import pytest
from tests.support.clusters import ENVIRONMENT, Ended, raftq_inside, start_raftq
from tests.support.shapes import fits

from raftq.cli.local_cluster import LocalCluster
from raftq.cli.shapes import SHAPES
from raftq.client import Client
from raftq.protocol import limits


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("nodes"), size=1) as running:
        yield running


@pytest.fixture(scope="module")
def client(cluster: LocalCluster) -> Generator[Client]:
    with Client(cluster.addresses) as connected:
        yield connected


def tail(cluster: LocalCluster, *arguments: str) -> Ended:
    return raftq_inside("events", "tail", *arguments, RAFTQ_ADDRESSES=cluster.addresses)


def lived(client: Client, queue: str) -> UUID:
    """Take a task through its life, and return its id."""
    task = client.enqueue(queue, b"x")
    (lease,) = client.lease(queue, worker="w")
    client.ack(lease.token)
    return UUID(bytes=task.id)


def test_each_transition_is_a_line(cluster: LocalCluster, client: Client) -> None:
    queue = f"q-{uuid4().hex}"
    task_id = lived(client, queue)
    told = tail(cluster, "--after", "0", "--queue", queue, "--count", "3")
    assert (told.code, told.err) == (0, "")
    lines = [re.split(r"  +", line) for line in told.out.splitlines()]
    assert [line[2:] for line in lines] == [
        [state, queue, str(task_id)] for state in ("ready", "leased", "done")
    ]
    position = lines[0][1]
    rest = tail(cluster, "--after", position, "--queue", queue, "--count", "2")
    assert rest.out.splitlines() == told.out.splitlines()[1:]


def test_json_is_one_object_a_line(cluster: LocalCluster, client: Client) -> None:
    task_id = lived(client, f"q-{uuid4().hex}")
    told = tail(cluster, "--after", "0", "--task", str(task_id), "--count", "3", "--json")
    facts = [json.loads(line) for line in told.out.splitlines()]
    assert [each["state"] for each in facts] == ["ready", "leased", "done"]
    assert all(fits(SHAPES["events tail"], each) for each in facts)
    words = ("--state", "done", "--state", "dead", "--count", "1", "--json")
    found = tail(cluster, "--after", "0", "--task", str(task_id), *words)
    assert json.loads(found.out) == facts[2]


def test_interrupted_it_says_where_to_go_on(cluster: LocalCluster, client: Client) -> None:
    queue = f"q-{uuid4().hex}"
    environment = ENVIRONMENT | {"RAFTQ_ADDRESSES": cluster.addresses}
    program = start_raftq("events", "tail", "--after", "0", "--queue", queue, **environment)
    try:
        lived(client, queue)
        assert program.stdout is not None
        lines = [program.stdout.readline() for _ in range(3)]
        program.send_signal(signal.SIGINT)
        _, words = program.communicate(timeout=20)
    finally:
        program.kill()
        program.wait()
    assert program.returncode == 130
    found = re.search(r"^go on with --after (\d+)", words, re.M)
    newest = re.split(r"  +", lines[-1])[1].partition("-")[0]
    assert found is not None and int(found[1]) >= int(newest)


@pytest.mark.parametrize("arguments", [("--after", "x"), ("--queue", "no name"), ("--count", "0")])
def test_what_cannot_be_is_a_usage_error(cluster: LocalCluster, arguments: tuple[str, ...]) -> None:
    assert tail(cluster, *arguments).code == 2


def test_lost_events_come_with_advice(cluster: LocalCluster, client: Client) -> None:
    queue, each = f"q-{uuid4().hex}", limits.TASKS_PER_ENQUEUE_MAX
    for _ in range(limits.EVENTS_KEPT_MAX // each + 1):
        client.enqueue_many(queue, [b""] * each)
    told = tail(cluster, "--after", "0")
    assert (told.code, told.out) == (3, "")
    assert "events_lost" in told.err and "without --after" in told.err
    client.purge(queue)
