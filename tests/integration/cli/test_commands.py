"""Every command against a real cluster: data, shapes of JSON, and exit codes."""

import base64
import json
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from tests.support.clusters import raftq, start_raftq, wait_until
from tests.support.shapes import fits
from tests.support.shells import Shell

from raftq.cli.control.shapes import CONTROL_SHAPES
from raftq.cli.local_cluster import LocalCluster
from raftq.cli.schedule_shapes import SCHEDULE_SHAPES
from raftq.cli.shapes import SHAPES


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("nodes")) as running:
        yield running


@pytest.fixture
def shell(cluster: LocalCluster) -> Shell:
    return Shell(cluster)


def test_a_task_goes_from_enqueue_to_its_result_in_words(shell: Shell) -> None:
    added = shell("enqueue", shell.queue, "hello")
    assert (added.code, added.err) == (0, "")
    task_id = str(UUID(added.out.strip()))
    leased = shell("lease", shell.queue, "--worker", "me")
    header, row = leased.out.splitlines()
    assert header.split() == ["token", "attempt", "task", "payload"]
    token, attempt, leased_id, payload = row.split()
    assert (attempt, leased_id, payload) == ("1", task_id, "hello")
    assert shell("extend", token, "--lease", "1m").out == "leased\n"
    assert shell("ack", token, "--result", "done well").out == "done\n"
    shown = shell("status", task_id)
    facts = dict(line.split(None, 1) for line in shown.out.splitlines() if " " in line.strip())
    assert (facts["state"], facts["result"]) == ("done", "done well")


def test_the_json_of_each_command_has_its_documented_shape(shell: Shell) -> None:
    task_id = str(uuid4())
    added = shell.json("enqueue", shell.queue, "hello", "--id", task_id)
    assert added == {"id": task_id, "state": "ready", "created": True}
    again = shell("enqueue", shell.queue, "hello", "--id", task_id, "--json")
    assert json.loads(again.out) == {"id": task_id, "state": "ready", "created": False}
    lease = shell.leased()
    assert lease == {
        "task_id": task_id,
        "queue": shell.queue,
        "token": lease["token"],
        "attempt": 1,
        "payload_base64": base64.b64encode(b"hello").decode(),
        "lease_ms": 30_000,
    }
    token = str(lease["token"])
    assert shell.json("extend", token) == {"state": "leased"}
    assert shell.json("requeue", token) == {"state": "ready"}
    token = str(shell.leased()["token"])
    assert shell.json("fail", token, "no luck") == {"state": "ready"}
    token = str(shell.leased()["token"])
    assert shell.json("ack", token, "--result", "42") == {"state": "done"}
    status = shell.json("status", task_id)
    times = {name: status.pop(name) for name in tuple(status) if name.endswith("_at_ms")}
    assert set(times) == {"not_before_at_ms", "enqueued_at_ms", "finished_at_ms"}
    (failed,) = status.pop("history")
    assert (failed["number"], failed["end"], failed["error"]) == (1, "failed", "no luck")
    assert status.pop("sequence") >= 1 and status.pop("applied_index") >= 1
    assert (status.pop("worker") or "shell-").startswith("shell-")
    assert status == {
        "id": task_id,
        "queue": shell.queue,
        "state": "done",
        "priority": 5,
        "failures": 1,
        "crashes": 0,
        "attempts": 2,
        "attempts_max": 5,
        "token": int(token),
        "result": "42",
        "result_base64": "NDI=",
        "errors": ["no luck"],
        "options": None,
        "progress": None,
        "progress_base64": None,
        "lag_ms": None,
    }
    queue = shell.json("queue", shell.queue)
    assert (queue["queue"], queue["enqueued"]) == (shell.queue, 1)
    assert queue["counts"]["done"] == 1 and sum(queue["counts"].values()) == 1


def test_what_each_command_prints_fits_its_documented_example(shell: Shell, tmp_path: Path) -> None:
    printed: dict[str, object] = {"enqueue": shell.json("enqueue", shell.queue, "x")}
    for command in ("requeue", "fail", "ack"):
        printed["lease"] = shell.json("lease", shell.queue)
        token = str(json.loads(json.dumps(printed["lease"]))["leases"][0]["token"])
        printed["extend"] = shell.json("extend", token)
        last = {"fail": ("why",), "ack": ("--result", "r")}.get(command, ())
        printed[command] = shell.json(command, token, *last)
    printed["status"] = shell.json("status", str(cast("Any", printed["enqueue"])["id"]))
    printed["cluster"] = shell.json("cluster")
    printed["cluster status"] = shell.json("cluster", "status")
    ready = raftq("node", "ready", "--json", RAFTQ_HTTP=shell.cluster.nodes[0].http)
    printed["node ready"] = json.loads(ready.out)
    printed |= _of_files(shell, tmp_path)
    elsewhere = {"dev", "bench", "top", "config show", "events tail"}
    elsewhere |= {*CONTROL_SHAPES, *SCHEDULE_SHAPES} - {"status"}
    assert printed.keys() == SHAPES.keys() - elsewhere, "they have tests of their own"
    misfits = {name: value for name, value in printed.items() if not fits(SHAPES[name], value)}
    assert misfits == {}


def _of_files(shell: Shell, folder: Path) -> dict[str, object]:
    """Return what the commands print that make files, or read them."""
    file, restored = str(folder / "a"), str(folder / "n1")
    taken = shell.json("backup", file)
    verified, made, found = (
        raftq(*words, "--json")
        for words in (
            ("backup", "verify", file),
            ("restore", file, "--cluster", "n1=127.0.0.1:1", "--node", f"n1={restored}"),
            ("recover", restored),
        )
    )
    return {
        "backup take": taken,
        "backup verify": json.loads(verified.out),
        "restore": json.loads(made.out),
        "recover": json.loads(found.out),
        "certs new": shell.json("certs", "new", "--node", "n1", "--out", str(folder / "certs")),
        "token new": shell.json("token", "new", "app"),
    }


@pytest.mark.parametrize("words", [("cluster",), ("cluster", "status")])
def test_the_cluster_is_shown_in_words_and_as_json(shell: Shell, words: tuple[str, ...]) -> None:
    facts = shell.json(*words)
    assert set(facts) == {
        *("cluster_id", "node", "leader", "term", "commit_index", "applied_index"),
        *("state_hash", "nodes"),
    }
    assert [node["id"] for node in facts["nodes"]] == ["n1", "n2", "n3"]
    keys = {"id", "native_address", "http_address", "peer_address", "role", "reachable", "is_voter"}
    assert all(set(node) == keys for node in facts["nodes"])
    assert sorted(node["role"] for node in facts["nodes"]).count("leader") == 1
    table = shell(*words).out
    assert all(node["native_address"] in table for node in facts["nodes"])


def test_the_program_itself_does_the_same(shell: Shell) -> None:
    address = ("--address", shell.cluster.addresses)
    added = raftq("enqueue", shell.queue, "-", *address, stdin=b"\xff\x00")
    assert (added.code, added.err) == (0, "")
    leased = json.loads(raftq("lease", shell.queue, *address, "--json").out)["leases"]
    assert base64.b64decode(leased[0]["payload_base64"]) == b"\xff\x00"
    assert raftq("ack", str(leased[0]["token"]), *address).out == "done\n"


def test_a_payload_is_read_from_stdin_byte_for_byte(shell: Shell) -> None:
    payload = bytes(range(256)) * 10
    assert shell("enqueue", shell.queue, "-", stdin=payload).code == 0
    assert shell("enqueue", shell.queue, stdin=b"default").code == 0
    assert base64.b64decode(shell.leased()["payload_base64"]) == payload
    assert base64.b64decode(shell.leased()["payload_base64"]) == b"default"


@pytest.mark.parametrize(
    ("arguments", "stdin", "expected"),
    [((), b"", None), (("--result", ""), b"", ""), (("--result", "-"), b"x\n", "x\n")],
)
def test_no_result_and_an_empty_result_differ(
    shell: Shell, arguments: tuple[str, ...], stdin: bytes, expected: str | None
) -> None:
    task_id = shell.json("enqueue", shell.queue, "x")["id"]
    token = str(shell.leased()["token"])
    assert shell("ack", token, *arguments, stdin=stdin).code == 0
    assert shell.json("status", task_id)["result"] == expected


@pytest.mark.parametrize(
    "payload", [b"[red]bold[/]", b"\x1b[2Jgone", b"a\nb", "snö".encode(), b"x" * 500]
)
def test_no_payload_can_trouble_the_terminal_or_break_a_row(shell: Shell, payload: bytes) -> None:
    shell("enqueue", shell.queue, "-", stdin=payload)
    leased = shell("lease", shell.queue)
    assert leased.code == 0
    assert len(leased.out.splitlines()) == 2
    assert "\x1b" not in leased.out
    if len(payload) < 80 and payload.decode().isprintable():
        assert payload.decode() in leased.out


def test_reasons_of_failure_are_shown_safely(shell: Shell) -> None:
    task_id = shell.json("enqueue", shell.queue, "x")["id"]
    shell("fail", str(shell.leased()["token"]), "--", "bad\x1b[31m\nthing")
    shown = shell("status", task_id)
    assert shown.code == 0 and "\x1b" not in shown.out and "bad" in shown.out


def test_delay_and_priority_are_obeyed(shell: Shell) -> None:
    later = shell.json("enqueue", shell.queue, "x", "--delay", "1h")
    assert later["state"] == "scheduled"
    shell("enqueue", shell.queue, "low", "--priority", "9")
    shell("enqueue", shell.queue, "high", "--priority", "0")
    assert base64.b64decode(shell.leased()["payload_base64"]) == b"high"


# ---------------------------------------------------------------- exit codes


def test_nothing_to_lease_is_not_found(shell: Shell) -> None:
    shell.words("enqueue", shell.queue, "x", "--delay", "1h")
    ended = shell("lease", shell.queue)
    assert (ended.code, ended.out, ended.err) == (3, "", "nothing is ready\n")
    assert shell.json("lease", shell.queue, code=3) == {"leases": []}
    said = shell("lease", shell.queue[:-1]).err
    assert said.startswith("nothing is ready; there is no queue") and shell.queue in said


def test_an_unknown_task_is_not_found(shell: Shell) -> None:
    ended = shell("status", str(uuid4()))
    assert (ended.code, ended.out) == (3, "")
    assert "unknown_task" in ended.err and "check the id" in ended.err


def test_a_lost_lease_and_a_reused_id_are_conflicts(shell: Shell) -> None:
    for command in (("ack", "987654321"), ("fail", "987654321", "x"), ("requeue", "987654321")):
        ended = shell(*command)
        assert (ended.code, ended.out) == (6, "") and "lease_lost" in ended.err
    task_id = str(uuid4())
    shell("enqueue", shell.queue, "one", "--id", task_id)
    ended = shell("enqueue", shell.queue, "two", "--id", task_id)
    assert (ended.code, ended.out) == (6, "") and "conflict" in ended.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("enqueue", "q", "x", "--delay", "soon"), "'soon' is no duration"),
        (("enqueue", "q", "x", "--timeout", "-1s"), "'-1s' is no duration"),
        (("enqueue", "bad name!", "x"), "queue"),
        (("enqueue", "q", "x", "--priority", "10"), "<= 9"),
        (("enqueue", "q", "x", "--id", "123"), "--id"),
        (("status", "no-uuid"), "task_id"),
        (("ack", "0"), ">= 1"),
        (("ack", "99999999999999999999999"), "cannot be sent"),
        (("ack", "x"), "token"),
        (("lease", "q", "--lease", "1ms"), ">= 100"),
        (("lease", "q", "--count", "0"), ">= 1"),
        (("queue", "q", "--address", "nowhere:99999"), "nowhere:99999"),
        (("lease",), "queues"),
        (("frobnicate",), "frobnicate"),
    ],
)
def test_bad_arguments_are_usage_errors_that_name_what_is_wrong(
    shell: Shell, arguments: tuple[str, ...], named: str
) -> None:
    ended = shell(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert named in ended.err and "Traceback" not in ended.err


def connections(cluster: LocalCluster) -> float:
    """Return how many clients are connected to the nodes."""
    texts = [(node.get("/metrics") or (0, b""))[1].decode() for node in cluster.nodes]
    lines = [line for text in texts for line in text.splitlines()]
    return sum(float(line.split()[1]) for line in lines if line.startswith("raftq_connections "))


def test_an_interrupted_command_ends_with_130_and_strands_no_lease(shell: Shell) -> None:
    addresses = shell.cluster.addresses
    # Not before it has connected: a signal in the middle of an interpreter's start may be lost.
    wait_until(lambda: not connections(shell.cluster))
    process = start_raftq("lease", shell.queue, "--wait", "60s", RAFTQ_ADDRESSES=addresses)
    try:
        wait_until(lambda: connections(shell.cluster))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out, err) == (130, "", "interrupted\n")
    shell("enqueue", shell.queue, "x")
    assert shell.leased()["attempt"] == 1


def test_a_node_is_asked_whether_it_is_ready(shell: Shell) -> None:
    http = shell.cluster.nodes[0].http
    assert raftq("node", "ready", "--http", http).code == 0
    assert raftq("node", "ready", RAFTQ_HTTP=http).code == 0
    answer = json.loads(raftq("node", "ready", "--http", http, "--json").out)
    assert (answer["http"], answer["ready"]) == (http, True)
    assert set(answer) == {"http", "ready", "answer"}


def test_inspect_shows_a_folder_and_its_files(shell: Shell) -> None:
    folder = shell.cluster.nodes[0].folder
    assert "n1" in raftq("inspect", str(folder)).out
    assert json.loads(raftq("inspect", str(folder), "--json").out)
    ended = raftq("inspect", str(Path("/nowhere")))
    assert (ended.code, ended.out) == (1, "") and "/nowhere" in ended.err
