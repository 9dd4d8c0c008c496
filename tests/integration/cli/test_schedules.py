"""Schedules from a shell, against a real cluster."""

from collections.abc import Generator
from datetime import UTC, datetime

import pytest
from tests.support.clusters import raftq_inside, wait_until
from tests.support.shapes import fits
from tests.support.shells import Shell

from raftq.cli.local_cluster import LocalCluster
from raftq.cli.schedule_shapes import SCHEDULE_SHAPES

DAILY = ("--cron", "30 2 * * *", "--timezone", "Europe/Berlin")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("nodes"), size=1) as running:
        yield running


@pytest.fixture
def shell(cluster: LocalCluster) -> Shell:
    return Shell(cluster)


def test_what_each_command_prints_fits_its_documented_example(shell: Shell) -> None:
    name = shell.queue
    commands: dict[str, tuple[str, ...]] = {
        "schedule set": (name, "q", "hello", "--every", "1s", "--order-key", "k"),
        "schedule list": (),
        "schedule show": (name,),
        "schedule next": ("--cron", "* * * * *"),
        "schedule pause": (name,),
        "schedule resume": (name,),
        "schedule delete": (name,),
    }
    assert commands.keys() == SCHEDULE_SHAPES.keys()
    printed = {name: shell.json(*name.split(), *given) for name, given in commands.items()}
    assert {n: p for n, p in printed.items() if not fits(SCHEDULE_SHAPES[n], p)} == {}


def test_schedule_is_set_once_and_fires(shell: Shell) -> None:
    name = shell.queue
    every = ("schedule", "set", name, name, "hello", "--every", "1s", "--priority", "2")
    assert shell.words(*every).startswith(f"{name} set, next ")
    assert shell.words(*every).startswith(f"{name} was set so already, next ")
    wait_until(lambda: shell.json("schedule", "show", name)["runs"] > 0)
    facts = shell.json("schedule", "show", name)
    status = shell.json("status", facts["last_task"])
    assert (status["queue"], status["priority"]) == (name, 2)
    shown = shell.words("schedule", "show", name)
    words = dict(line.split(None, 1) for line in shown.splitlines())
    assert (words["payload"], words["when"], words["priority"]) == ("hello", "every 1s", "2")
    assert shell.words("schedule", "delete", name) == f"{name} deleted\n"


def test_everything_that_a_schedule_is_told_is_shown(shell: Shell) -> None:
    told = ("--missed", "all", "--overlap", "skip", "--jitter", "1m", "--attempts-max", "3")
    options = ("--expires", "1h", "--backoff", "5s fixed", "--unique-key", "u")
    keys = ("--on-conflict", "replace", "--limit-key", "l", "--fair-key", "f", "--paused")
    shell.words("schedule", "set", shell.queue, "q", "x", *DAILY, *told, *options, *keys)
    facts = shell.json("schedule", "show", shell.queue)
    assert (facts["cron"], facts["timezone"]) == ("30 2 * * *", "Europe/Berlin")
    assert (facts["missed"], facts["overlap"], facts["jitter_ms"]) == ("all", "skip", 60_000)
    assert (facts["attempts_max"], facts["paused"], facts["next_at_ms"]) == (3, True, None)
    assert facts["options"].pop("backoff")["kind"] == "fixed"
    assert facts["options"] == {
        "expires_after_ms": 3_600_000,
        "unique_key": "u",
        "on_conflict": "replace",
        "limit_key": "l",
        "fair_key": "f",
    }
    words = shell.words("schedule", "show", shell.queue)
    for each in ("30 2 * * * (Europe/Berlin)", "unique key", "attempts max", "jitter", "paused"):
        assert each in words
    (row,) = [line for line in shell.words("schedule", "list").splitlines() if shell.queue in line]
    assert "paused" in row


def test_paused_schedule_stands_still_and_goes_on_with_the_next_tick(shell: Shell) -> None:
    name = shell.queue
    shell.words("schedule", "set", name, "q", "x", *DAILY)
    assert shell.words("schedule", "pause", name) == f"{name} stands still, paused\n"
    assert shell.words("schedule", "pause", name) == f"{name} stood still already, paused\n"
    ended = shell("schedule", "next", name)
    assert (ended.code, ended.out, ended.err) == (0, "", f"{name} is paused\n")
    assert shell.words("schedule", "resume", name).startswith(f"{name} goes on, next ")
    assert shell.words("schedule", "resume", name).startswith(f"{name} was not paused, next ")


def test_next_ticks_are_shown_in_the_zone_of_the_schedule(shell: Shell) -> None:
    name = shell.queue
    shell.words("schedule", "set", name, "q", "x", *DAILY)
    lines = shell.words("schedule", "next", name, "-n", "3").splitlines()
    assert [line[11:19] for line in lines] == ["02:30:00"] * 3 or "03:00:00" in "".join(lines)
    assert all("  in " in line for line in lines)
    facts = shell.json("schedule", "show", name)
    assert shell.json("schedule", "next", name)["next_at_ms"][0] == facts["next_at_ms"]


def test_expression_is_tried_out_without_a_cluster() -> None:
    ended = raftq_inside("schedule", "next", "--cron", "0 0 29 2 *", "-n", "2", "--json")
    assert ended.code == 0, ended.err
    assert '"timezone": "UTC"' in ended.out
    year = datetime.now(UTC).year
    shown = raftq_inside("schedule", "next", "--cron", "0 0 29 2 *").out
    assert all(int(line[:4]) >= year and "-02-29 00:00" in line for line in shown.splitlines())


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("set", "s", "q", "x"), 2, "either cron"),
        (("set", "s", "q", "x", "--cron", "0 25 * * *"), 2, "bad hour; write five fields"),
        (("set", "s", "q", "x", *DAILY[:2], "-z", "Berlin"), 2, "did you mean Europe/Berlin?"),
        (("set", "s", "q", "x", "--every", "1ms"), 2, "every_ms"),
        (("next", "--cron", "1 2 3"), 2, "it has 3 fields"),
        (("next",), 2, "give a schedule, or --cron"),
        (("show", "nowhere"), 3, "there is no schedule 'nowhere'"),
        (("pause", "nowhere"), 3, "`raftq schedule list` shows all"),
        (("delete", "nowhere"), 3, "there is no schedule 'nowhere'"),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(
    shell: Shell, arguments: tuple[str, ...], code: int, words: str
) -> None:
    assert words in " ".join(shell.refused("schedule", *arguments, code=code).split())


def test_mistyped_name_gets_the_nearest_one(shell: Shell) -> None:
    shell.words("schedule", "set", "nightly-report", "q", "x", *DAILY)
    said = shell.refused("schedule", "show", "nightly-reprot", code=3)
    assert "did you mean 'nightly-report'?" in said
    shell.words("schedule", "delete", "nightly-report")


def test_empty_list_says_how_to_begin(tmp_path_factory: pytest.TempPathFactory) -> None:
    with LocalCluster(tmp_path_factory.mktemp("empty"), size=1) as running:
        ended = Shell(running)("schedule", "list")
    assert (ended.code, ended.out) == (0, "")
    assert "`raftq schedule set` makes one" in ended.err
