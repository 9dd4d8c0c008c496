"""Stepping in from a shell: tasks, queues, limits and quotas against a real cluster."""

import json
import re
from collections.abc import Generator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.support.clusters import raftq_inside
from tests.support.shapes import fits
from tests.support.shells import Shell, Terminal

from raftq.cli.control.shapes import CONTROL_SHAPES
from raftq.cli.local_cluster import LocalCluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("nodes"), size=1) as running:
        yield running


@pytest.fixture
def shell(cluster: LocalCluster) -> Shell:
    return Shell(cluster)


def test_what_each_command_prints_fits_its_documented_example(shell: Shell) -> None:
    queue, key = shell.queue, f"k-{uuid4().hex}"
    dead = shell.die()
    waiting = shell.enqueue("--order-key", key, "--backoff", "1s", "--delay", "1h")
    prepared = shell.enqueue("--confirm-within", "1h", "--limit-key", key)
    rate, size = ("--rate", "10/s"), ("--payload-bytes-max", "1GiB", "--enqueue-rate", "10/s")
    everything = ("--concurrency", "16", *rate, "--backoff", "1s", "--fair-weight", "gold=3", *size)
    sure = ("--yes",)
    commands: dict[str, tuple[str, ...]] = {
        "status": (dead,),
        "task show": (dead,),
        "task why": (waiting,),
        "task edit": (waiting, "--priority", "1"),
        "task confirm": (prepared,),
        "task list": ("--queue", queue, "--state", "dead"),
        "task retry": (dead,),
        "task cancel": (waiting,),
        "queue list": (),
        "queue set": (queue, *everything, "--tasks-max", "99"),
        "queue show": (queue,),
        "queue pause": (queue,),
        "queue resume": (queue,),
        "queue move": (queue, f"{queue}-2", "--create", *sure),
        "queue redrive": (queue, *sure),
        "queue discard": (queue, *sure),
        "queue purge": (queue, *sure),
        "limit set": (key, "--concurrency", "3", *rate),
        "limit list": (),
        "limit remove": (key,),
        "quota set": ("--tasks-max", "1000000", *size),
        "quota show": (),
    }
    assert commands.keys() == CONTROL_SHAPES.keys()
    try:
        printed = {name: shell.json(*name.split(), *more) for name, more in commands.items()}
    finally:
        bounds = ("--tasks-max", "--payload-bytes-max", "--enqueue-rate")
        shell.words("quota", "set", *(word for each in bounds for word in (each, "none")))
    assert {n: p for n, p in printed.items() if not fits(CONTROL_SHAPES[n], p)} == {}


# ---------------------------------------------------------------- enqueue


def in_days(days: int) -> str:
    """Return a midnight in the future, in local time."""
    day = datetime.now().date() + timedelta(days=days)
    return day.isoformat()


def milliseconds(instant: str) -> int:
    return round(datetime.fromisoformat(instant).timestamp() * 1_000)


def test_everything_that_a_task_can_be_told_is_told(shell: Shell) -> None:
    parent = shell.enqueue("--delay", "1h")
    given = {
        "--crashes-max": "3",
        "--expires": "2h",
        "--expires-at": in_days(60),
        "--backoff": "1s linear max 10m jitter 5",
        "--unique-key": f"u-{parent}",
        "--on-conflict": "existing",
        "--unique-for": "1d",
        "--order-key": "o",
        "--limit-key": "l",
        "--fair-key": "f",
        "--depends-on": parent,
        "--on-parent-failure": "run",
        "--result-ttl": "3d",
        "--confirm-within": "30m",
        "--check-queue": "check",
    }
    more = ("--attempts-max", "7", "--priority", "2", "--at", in_days(30))
    task_id = shell.enqueue(*(word for pair in given.items() for word in pair), *more)
    found = shell.json("task", "show", task_id)
    backoff = {"base_ms": 1_000, "kind": "linear", "max_ms": 600_000, "jitter_percent": 5}
    assert found["options"] == {
        "crashes_max": 3,
        "expires_after_ms": 7_200_000,
        "expires_at_ms": milliseconds(in_days(60)),
        "backoff": backoff,
        "unique_key": f"u-{parent}",
        "on_conflict": "existing",
        "unique_ms": 86_400_000,
        "order_key": "o",
        "limit_key": "l",
        "fair_key": "f",
        "depends_on": [parent],
        "on_parent_failure": "run",
        "result_ttl_ms": 259_200_000,
        "confirm_within_ms": 1_800_000,
        "check_queue": "check",
    }
    assert (found["attempts_max"], found["priority"]) == (7, 2)
    assert found["not_before_at_ms"] == milliseconds(in_days(30))
    shown = shell.words("task", "show", task_id)
    assert "1s linear max 10m jitter 5" in shown and parent in shown and "expires" in shown
    existing = ("--unique-key", f"u-{parent}", "--on-conflict", "existing")
    again = shell("enqueue", shell.queue, "y", *existing)
    assert (again.out.strip(), again.code) == (task_id, 0) and "was there already" in again.err


def test_a_taken_key_is_a_conflict_that_says_what_to_do(shell: Shell) -> None:
    shell.enqueue("--unique-key", shell.queue)
    said = shell.refused("enqueue", shell.queue, "y", "--unique-key", shell.queue, code=6)
    assert "key_taken" in said and "--on-conflict existing" in said


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("enqueue", "q", "x", "--at", "tomorrow"), "'tomorrow' is no instant"),
        (("enqueue", "q", "x", "--backoff", "slow"), "'slow'"),
        (("enqueue", "q", "x", "--backoff", "1s cubic"), "is no backoff"),
        (("enqueue", "q", "x", "--on-conflict", "ignore"), "reject"),
        (("enqueue", "q", "x", "--depends-on", "1"), "--depends-on"),
        (("enqueue", "q", "x", "--expires", "never"), "'never' is no duration"),
        (("queue", "set", "q"), "--concurrency 5"),
        (("queue", "set", "q", "--rate", "fast"), "--rate: 'fast' is no rate"),
        (("queue", "set", "q", "--concurrency", "few"), "--concurrency: 'few' is no number"),
        (("queue", "set", "q", "--payload-bytes-max", "1GB"), "'1GB' is no size"),
        (("queue", "set", "q", "--fair-weight", "gold"), "'gold' is no weight"),
        (("queue", "set", "q", "--create", "--fair-weight", "gold=0"), ">= 1"),
        (("queue", "set", "q", "--create", "--concurrency", "0"), ">= 1"),
        (("limit", "set", "k"), "--concurrency, --rate"),
        (("quota", "set"), "--tasks-max"),
        (("task", "edit", str(UUID(int=1))), "--delay, --at or --priority"),
        (("task", "edit", str(UUID(int=1)), "--at", "x"), "'x' is no instant"),
        (("task", "list", "--state", "asleep"), "'asleep'"),
        (("task", "list", "--before", "x"), "or how long ago, like '1h'"),
        (("task", "cancel"), "--queue mail"),
        (("task", "cancel", str(UUID(int=1)), "--queue", "q"), "not both"),
        (("task", "cancel", str(UUID(int=1)), "--dry-run"), "--dry-run"),
        (("task", "why", "no-id"), "'no-id', which is no id"),
        (("task", "list", "--statee", "dead"), "--state"),
        (("task", "shwo", "x"), "'show'"),
        (("queue", "pasue", "x"), "'pause'"),
    ],
)
def test_bad_arguments_are_usage_errors_that_name_what_is_wrong(
    shell: Shell, arguments: tuple[str, ...], named: str
) -> None:
    said = shell.refused(*arguments, code=2)
    assert named in " ".join(said.split()) and "Traceback" not in said


# ---------------------------------------------------------------- tasks


def test_a_task_is_cancelled_retried_and_edited_by_its_id(shell: Shell) -> None:
    task_id = shell.enqueue("--delay", "1h")
    assert shell.words("task", "edit", task_id, "--delay", "0", "--priority", "1") == "ready\n"
    assert shell.words("task", "edit", task_id, "--at", in_days(30)) == "scheduled\n"
    assert shell.words("task", "retry", task_id) == "ready\n", "a scheduled one begins now"
    assert shell.words("task", "cancel", task_id) == "cancelled\n"
    assert shell.words("task", "cancel", task_id) == "cancelled\n", "repeating it is harmless"
    assert "conflict" in shell.refused("task", "edit", task_id, "--delay", "1s", code=6)
    assert "conflict" in shell.refused("task", "retry", task_id, code=6)
    dead = shell.die()
    assert shell.words("task", "retry", dead) == "ready\n"
    found = shell.json("task", "show", dead)
    assert (found["state"], found["failures"]) == ("ready", 0)


def test_of_several_tasks_each_is_judged_on_its_own(shell: Shell) -> None:
    waiting, dead, unknown = shell.enqueue("--delay", "1h"), shell.die(), str(uuid4())
    ended = shell("task", "cancel", waiting, unknown, dead)
    assert ended.code == 3
    assert ended.out == f"{waiting} cancelled\n{dead} cancelled\n"
    assert f"{unknown} unknown_task" in ended.err
    found = json.loads(shell("task", "cancel", waiting, unknown, "--json").out)["tasks"]
    assert [each["error"] for each in found] == [None, "unknown_task"]
    other = shell.enqueue()
    assert "which is no id" in shell.refused("task", "cancel", other, "nonsense", code=2)
    assert shell.state(other) == "ready", "nothing is done when an argument is wrong"


def test_a_prepared_task_is_confirmed(shell: Shell) -> None:
    task_id = shell.enqueue("--confirm-within", "1h")
    assert "unconfirmed" in shell.words("task", "why", task_id)
    assert shell.words("task", "confirm", task_id) == "ready\n"


def test_why_names_the_rule_that_holds_a_task_back(shell: Shell) -> None:
    first = shell.enqueue("--order-key", shell.queue)
    second = shell.enqueue("--order-key", shell.queue)
    found = shell.json("task", "why", second)
    assert (found["id"], found["state"]) == (second, "blocked")
    assert found["reasons"][0]["rule"] == "order_key"
    assert f"held by task {first}" in shell.words("task", "why", second)
    later = shell.enqueue("--delay", "1h")
    assert re.search(r"not before \d{4}-.* \(in (59m|1h)", shell.words("task", "why", later))
    shell.words("queue", "pause", shell.queue)
    assert "paused" in shell.words("task", "why", first)


@pytest.mark.parametrize("words", [("show",), ("why",), ("cancel",), ("edit", "--priority", "1")])
def test_a_mistyped_task_is_told_with_the_nearest(shell: Shell, words: tuple[str, ...]) -> None:
    task_id = shell.enqueue()
    command, *more = words
    wrong = task_id[:-3] + ("f" if task_id[-3] != "f" else "e") + task_id[-2:]
    said = shell.refused("task", command, wrong, *more, code=3)
    assert f"did you mean {task_id}?" in said
    said = shell.refused("task", command, task_id[:23], *more, code=2)
    assert f"did you mean {task_id}?" in said


def test_show_waits_for_the_end_of_a_task(shell: Shell) -> None:
    task_id = shell.enqueue()
    shell.words("ack", str(shell.leased()["token"]), "--result", "42")
    found = shell.json("task", "show", task_id, "--wait", "30s")
    assert (found["state"], found["result"]) == ("done", "42")
    waiting = shell.enqueue()
    assert shell.json("task", "show", waiting, "--wait", "10ms")["state"] == "ready"


def test_attempts_that_failed_are_shown(shell: Shell) -> None:
    shown = shell.words("task", "show", shell.die())
    header, row = shown.splitlines()[-2:]
    assert header.split() == ["attempt", "end", "worker", "began", "took", "error"]
    assert row.startswith("      1  failed") and row.endswith("no luck")


# ---------------------------------------------------------------- lists


def test_tasks_are_listed_by_what_they_have_in_common(shell: Shell) -> None:
    first, second = shell.enqueue("--priority", "1"), shell.enqueue("--fair-key", "gold")
    of_queue = ("task", "list", "--queue", shell.queue)

    def ids(*more: str) -> list[str]:
        return shell.words(*of_queue, "--ids", *more).split()

    assert ids() == [first, second], "in the order of their enqueue"
    assert ids("--priority", "1") == [first]
    assert ids("--fair-key", "gold") == [second]
    assert ids("--state", "dead", "--state", "leased") == []
    assert ids("--after", "1h") == [first, second] and ids("--before", "1h") == []
    soon = (datetime.now().astimezone() + timedelta(hours=1)).isoformat()
    assert ids("--before", soon) == [first, second]
    assert ids("--limit", "1") == [first]
    assert "--limit N or --all" in shell(*of_queue, "--limit", "1").err
    assert shell.json(*of_queue, "--limit", "1")["has_more"] is True
    assert ids("--limit", "1", "--all") == [first, second]
    assert shell.words(*of_queue, "--count") == "2\n"
    assert shell.json(*of_queue, "--count") == {"matched": 2}
    header, *rows = shell.words(*of_queue).splitlines()
    assert header.split() == ["task", "queue", "state", "tries", "age", "newest", "error"]
    assert [row.split()[0] for row in rows] == [first, second]


def test_tasks_are_found_by_the_text_of_their_error(shell: Shell) -> None:
    dead = shell.die()
    of_queue = ("task", "list", "--queue", shell.queue, "--ids")
    assert shell.words(*of_queue, "--error", "luck").split() == [dead]
    assert shell(*of_queue, "--error", "other").out == ""
    assert "no luck" in shell.words("task", "list", "--queue", shell.queue)


def test_a_mistyped_queue_is_told_with_the_nearest(shell: Shell) -> None:
    shell.enqueue()
    wrong = shell.queue.replace("q-", "p-")
    commands: list[tuple[str, ...]] = [
        ("queue", wrong),
        ("queue", "show", wrong),
        ("queue", "pause", wrong),
        ("queue", "resume", wrong),
        ("queue", "set", wrong, "--concurrency", "1"),
        ("queue", "move", shell.queue, wrong, "--yes"),
        ("task", "list", "--queue", wrong),
    ]
    for verb in ("purge", "redrive", "discard"):
        commands += [("queue", verb, wrong, how) for how in ("--yes", "--dry-run")]
    for command in commands:
        said = shell.refused(*command, code=3)
        assert f"there is no queue {wrong!r} (did you mean {shell.queue!r}?)" in said, command
    assert "(did you mean 'list'?)" in shell.refused("queue", "lst", code=3)


# ---------------------------------------------------------------- many tasks


def test_a_dry_run_counts_and_changes_nothing(shell: Shell) -> None:
    shell.die()
    tasks = [shell.enqueue() for _ in range(3)]
    dry = ("--dry-run",)
    assert shell.words("queue", "purge", shell.queue, *dry) == "3 tasks would be cancelled\n"
    assert shell.words("queue", "redrive", shell.queue, *dry) == "1 task would be redriven\n"
    assert shell.words("queue", "discard", shell.queue, *dry) == "1 task would be discarded\n"
    chosen = ("task", "cancel", "--queue", shell.queue)
    assert shell.json(*chosen, *dry) == {"tasks": 4, "dry_run": True}
    moved = ("queue", "move", shell.queue, f"{shell.queue}-2", "--create")
    assert shell.words(*moved, *dry) == "4 tasks would be moved\n"
    assert {shell.state(task_id) for task_id in tasks} == {"ready"}
    assert shell(*chosen[:2], "--queue", f"{shell.queue}-2", *dry).code == 3, "not even made"


def test_without_a_terminal_many_tasks_are_changed_only_with_yes(shell: Shell) -> None:
    tasks = [shell.enqueue() for _ in range(2)]
    said = shell.refused("queue", "purge", shell.queue, code=2)
    assert "2 tasks will be cancelled" in said and "--yes" in said and "--dry-run" in said
    assert shell.state(tasks[0]) == "ready"
    assert shell.words("queue", "purge", shell.queue, "--yes") == "2 tasks cancelled\n"
    assert {shell.state(task_id) for task_id in tasks} == {"cancelled"}
    assert shell.words("queue", "purge", shell.queue) == "0 tasks cancelled\n", "nothing to ask"


@pytest.mark.parametrize(("answer", "code", "state"), [("y", 0, "cancelled"), ("n", 1, "ready")])
def test_on_a_terminal_the_count_is_confirmed(
    shell: Shell, answer: str, code: int, state: str
) -> None:
    task_id = shell.enqueue()
    addresses = shell.cluster.addresses
    with Terminal("queue", "purge", shell.queue, RAFTQ_ADDRESSES=addresses) as terminal:
        terminal.expect("1 task will be cancelled. Go on? [y/N]")
        terminal.type(f"{answer}\n")
        assert terminal.wait() == code
    assert shell.state(task_id) == state


def test_dead_tasks_are_redriven_discarded_and_moved_by_what_they_have_in_common(
    shell: Shell,
) -> None:
    dead = [shell.die() for _ in range(4)]
    none = ("--error", "other", "--yes")
    assert shell.words("queue", "redrive", shell.queue, *none) == "0 tasks redriven\n"
    chosen = ("task", "retry", "--queue", shell.queue, "--error", "luck", "--yes")
    assert shell.words(*chosen) == "4 tasks redriven\n"
    for _ in dead:
        shell.words("fail", str(shell.leased()["token"]), "again")
    to = f"{shell.queue}-2"
    assert shell.words("queue", "move", shell.queue, to, "--create", "--yes") == "4 tasks moved\n"
    assert shell.words("queue", "discard", to, "--yes") == "4 tasks discarded\n"
    assert {shell.state(task_id) for task_id in dead} == {"cancelled"}


# ---------------------------------------------------------------- settings


def test_settings_of_a_queue_are_changed_one_by_one(shell: Shell) -> None:
    name = shell.queue
    assert "--create makes it" in shell.refused("queue", "set", name, "--ageing", "0", code=3)
    shown = shell.words("queue", "set", name, "--create", "--concurrency", "5", "--rate", "100/5m")
    facts = dict(line.split(None, 1) for line in shown.splitlines())
    assert (facts["concurrency"], facts["rate"], facts["attempts-max"]) == ("5", "100/5m", "5")
    shell.words("queue", "set", name, "--rate", "10/s burst 20", "--backoff", "5s linear")
    shell.words("queue", "set", name, "--fair-weight", "gold=3", "--fair-weight", "a=b=2")
    shell.words("queue", "set", name, "--fair-weight", "gold=4", "--concurrency", "none")
    settings = shell.json("queue", "show", name)["settings"]
    assert settings["concurrency"] is None and settings["fair_weights"] == {"gold": 4, "a=b": 2}
    assert settings["rate"] == {"count": 10, "per_ms": 1_000, "burst": 20}
    assert settings["backoff"]["kind"] == "linear"
    again = shell("queue", "set", name, "--rate", "10/s burst 20")
    assert (again.code, again.err) == (0, "it was so already\n")
    shown = shell.words("queue", name)
    assert "10/s burst 20" in shown and "5s linear max 10m jitter 20" in shown and "gold=4" in shown
    shell.words("queue", "set", name, "--fair-weight", "none")
    assert shell.json("queue", name)["settings"]["fair_weights"] == {}


def test_a_queue_is_paused_and_resumed(shell: Shell) -> None:
    shell.enqueue()
    assert shell.words("queue", "pause", shell.queue) == f"{shell.queue} paused\n"
    assert shell.words("queue", "pause", shell.queue) == f"{shell.queue} was paused already\n"
    assert shell.json("lease", shell.queue, code=3) == {"leases": []}
    row = next(line for line in shell.words("queue", "list").splitlines() if shell.queue in line)
    assert row.endswith("paused")
    assert shell.words("queue", "resume", shell.queue) == f"{shell.queue} runs\n"
    assert shell.leased()["attempt"] == 1
    new = f"{shell.queue}-new"
    assert shell.words("queue", "pause", new, "--create") == f"{new} paused\n"


def test_a_limit_keeps_what_is_not_given_and_is_removed(shell: Shell) -> None:
    key = shell.queue
    shell.words("limit", "set", key, "--concurrency", "1")
    shown = shell.words("limit", "set", key, "--rate", "100/s burst 100")
    assert shown.splitlines()[1].split() == [key, "1", "100/s", "burst", "100"]
    for _ in range(2):
        shell.enqueue("--limit-key", key)
    shell.leased()
    assert shell.json("lease", shell.queue, code=3) == {"leases": []}
    row = next(line for line in shell.words("limit", "list").splitlines() if key in line)
    assert row.split()[-2:] == ["1", "1"], "one is leased, one waits"
    said = shell.refused("limit", "remove", key[:-1], code=3)
    assert f"did you mean {key!r}" in said
    assert shell.words("limit", "remove", key) == "removed\n"
    assert shell.leased()["attempt"] == 1


def test_the_quota_is_set_and_obeyed(shell: Shell) -> None:
    shell.enqueue()
    shown = shell.words("quota", "set", "--tasks-max", "1", "--payload-bytes-max", "1GiB")
    try:
        assert shown.splitlines()[0].split() == ["tasks-max", "1"]
        said = shell.refused("enqueue", shell.queue, "x", "--timeout", "300ms", code=4)
        assert "queue_full" in said and "raftq quota show" in said
    finally:
        shown = shell.words(
            "quota", "set", "--tasks-max", "none", "--payload-bytes-max", "none", "--json"
        )
    cleared: Any = {"tasks_max": None, "payload_bytes_max": None, "enqueue_rate": None}
    assert json.loads(shown) == cleared == shell.json("quota", "show")


def test_commands_go_where_the_file_in_the_folder_says(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.enqueue()
    (tmp_path / "raftq.toml").write_text(f'addresses = "{shell.cluster.addresses}"\n')
    monkeypatch.chdir(tmp_path)
    ended = raftq_inside("queue", "show", shell.queue)
    assert ended.code == 0 and shell.queue in ended.out
