"""Adding tasks: by id, all or none."""

import pytest
from tests.support.machines import Driver, task_id

from raftq.protocol import limits
from raftq.protocol.commands import Command, Enqueue, Lease
from raftq.protocol.fields import TaskState
from raftq.protocol.options import NewTask
from raftq.protocol.replies import EnqueuedTask, Rejected


@pytest.fixture
def driver() -> Driver:
    return Driver()


def test_a_new_task_is_ready_and_said_to_be_created(driver: Driver) -> None:
    reply = driver.enqueue(1)
    assert reply.tasks == [EnqueuedTask(task_id(1), TaskState.READY, created=True)]


def test_a_repeated_enqueue_changes_nothing_and_returns_the_task_that_is_there(
    driver: Driver,
) -> None:
    driver.enqueue(1)
    driver.lease()
    before = driver.hashes()
    reply = driver.enqueue(1)
    assert reply.tasks == [EnqueuedTask(task_id(1), TaskState.LEASED, created=False)]
    assert driver.hashes() == before


def test_a_repeated_enqueue_of_a_done_task_says_done_and_runs_nothing(driver: Driver) -> None:
    driver.run(1)
    before = driver.hashes()
    assert driver.enqueue(1).tasks[0].state is TaskState.DONE
    assert driver.lease() == [] and driver.hashes() == before


@pytest.mark.parametrize(("queue", "payload"), [("other", b"payload"), ("q", b"other")])
def test_the_same_id_for_something_else_is_a_conflict(
    driver: Driver, queue: str, payload: bytes
) -> None:
    driver.enqueue(1)
    before = driver.hashes()
    reply = driver.one(Enqueue(queue, [NewTask(task_id(1), payload)]))
    assert isinstance(reply, Rejected) and reply.code == "conflict"
    assert driver.hashes() == before


def test_a_conflict_is_found_after_the_payload_was_forgotten(driver: Driver) -> None:
    driver.run(1)
    reply = driver.one(Enqueue("q", [NewTask(task_id(1), b"other")]))
    assert isinstance(reply, Rejected) and reply.code == "conflict"


def test_one_conflict_refuses_the_whole_batch(driver: Driver) -> None:
    driver.enqueue(2)
    before = driver.hashes()
    batch = [NewTask(task_id(1), b"payload"), NewTask(task_id(2), b"other")]
    reply = driver.one(Enqueue("q", batch))
    assert isinstance(reply, Rejected) and reply.code == "conflict"
    assert driver.state(1) is None and driver.hashes() == before


def test_an_id_twice_in_one_batch_is_refused(driver: Driver) -> None:
    before = driver.hashes()
    batch = [NewTask(task_id(1), b""), NewTask(task_id(2), b""), NewTask(task_id(1), b"")]
    reply = driver.one(Enqueue("q", batch))
    assert isinstance(reply, Rejected) and reply.code == "invalid_request"
    assert driver.hashes() == before


def test_an_id_twice_in_one_batch_is_refused_even_if_it_exists(driver: Driver) -> None:
    driver.enqueue(1)
    reply = driver.one(Enqueue("q", [NewTask(task_id(1), b"payload")] * 2))
    assert isinstance(reply, Rejected) and reply.code == "invalid_request"


def test_a_batch_of_known_and_new_tasks_creates_the_new_ones(driver: Driver) -> None:
    driver.enqueue(2)
    reply = driver.enqueue(1, 2, 3)
    assert [task.created for task in reply.tasks] == [True, False, True]
    assert [task.id for task in reply.tasks] == [task_id(1), task_id(2), task_id(3)]
    assert driver.machine.queue("q").enqueued == 3


def test_the_number_of_queues_is_bounded(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "QUEUES_MAX", 2)
    driver.enqueue(1, queue="a")
    driver.enqueue(2, queue="b")
    before = driver.hashes()
    reply = driver.one(Enqueue("c", [NewTask(task_id(3), b"")]))
    assert isinstance(reply, Rejected) and reply.code == "invalid_request"
    assert driver.hashes() == before
    assert driver.enqueue(4, queue="b").tasks[0].created


def test_live_tasks_and_their_payload_bytes_are_counted_until_done(driver: Driver) -> None:
    driver.enqueue(1, payload=b"12345")
    driver.enqueue(2, payload=b"123", delay_ms=5)
    assert (driver.machine.live_tasks, driver.machine.live_payload_bytes) == (2, 8)
    driver.ack(driver.lease()[0].token)
    assert (driver.machine.live_tasks, driver.machine.live_payload_bytes) == (1, 3)


def test_a_dead_task_still_counts_as_live(driver: Driver) -> None:
    driver.enqueue(1, payload=b"12345", attempts_max=1)
    driver.fail(driver.lease()[0].token)
    assert driver.state(1) is TaskState.DEAD
    assert (driver.machine.live_tasks, driver.machine.live_payload_bytes) == (1, 5)


def test_a_forgotten_id_is_new_again(driver: Driver) -> None:
    driver.run(1)
    driver.pass_wall_ms(limits.RESULT_RETENTION_MS)
    assert driver.machine.task(task_id(1)) is None
    assert driver.enqueue(1).tasks[0].created
    (lease,) = driver.lease()
    assert driver.ack(lease.token).state is TaskState.DONE
    counts = driver.machine.queue("q")
    assert (counts.enqueued, counts.counts["done"]) == (2, 2)


def _tasks(*numbers: int, payload: bytes = b"payload") -> list[NewTask]:
    return [NewTask(task_id(number), payload) for number in numbers]


@pytest.mark.parametrize(
    "commands",
    [
        pytest.param([Enqueue("q", _tasks(n)) for n in range(1, 9)], id="all are new"),
        pytest.param(
            [Enqueue("q", _tasks(1, 2)), Enqueue("q", _tasks(3, 2)), Enqueue("q", _tasks(4))],
            id="one repeats a task of another",
        ),
        pytest.param(
            [Enqueue("q", _tasks(1)), Enqueue("q", _tasks(2, 2)), Enqueue("q", _tasks(3))],
            id="one names a task twice",
        ),
        pytest.param(
            [Enqueue("q", _tasks(1)), Enqueue("q", _tasks(1, 5, payload=b"other"))],
            id="one contradicts another",
        ),
        pytest.param(
            [Enqueue("r", _tasks(1)), Enqueue("r", _tasks(2)), Enqueue("q", _tasks(2, 3))],
            id="to several queues",
        ),
        pytest.param(
            [Enqueue("q", _tasks(1)), Lease(["q"], 5, 1_000, "w", "r"), Enqueue("q", _tasks(2))],
            id="with something between",
        ),
        pytest.param(
            [Enqueue(name, _tasks(n)) for n, name in enumerate(["a", "a", "b", "b", "c", "c"], 1)],
            id="to more queues than there may be",
        ),
    ],
)
def test_enqueues_of_one_entry_do_what_those_of_several_do(
    commands: list[Command], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "QUEUES_MAX", 2)
    together, apart = Driver(), Driver()
    replies = together.apply(*commands).replies
    assert replies == [reply for command in commands for reply in apart.apply(command).replies]
    together.apply()
    apart.apply()
    assert together.hashes() == apart.hashes()
