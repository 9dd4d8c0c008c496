"""What the command line does without a cluster."""

import json
import resource
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from tests.support.clusters import ENVIRONMENT, raftq, raftq_inside

from raftq.cli import output
from raftq.cli.main import main
from raftq.protocol.errors import ERRORS_BY_CODE, OutcomeUnknown, UnavailableError

COMMANDS = [
    *("enqueue", "lease", "ack", "fail", "requeue", "extend", "status", "queue"),
    *("task", "limit", "quota", "top", "config"),
    *("cluster", "node", "inspect", "dev", "bench"),
]


def test_help_names_every_command() -> None:
    ended = raftq_inside("--help")
    assert ended.code == 0
    assert all(command in ended.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str) -> None:
    ended = raftq_inside(command, "--help")
    assert ended.code == 0 and f"raftq {command}" in ended.out


def test_the_version_is_one_line() -> None:
    ended = raftq("--version")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("raftq ") and ended.out.count("\n") == 1


def test_an_unknown_command_is_a_usage_error_with_a_suggestion() -> None:
    ended = raftq_inside("enqeue")
    assert (ended.code, ended.out) == (2, "")
    assert "Did you mean" in ended.err and "enqueue" in ended.err


@pytest.mark.parametrize("arguments", [("--help",), ("enqeue",)])
def test_no_color_is_obeyed(arguments: tuple[str, ...]) -> None:
    ended = raftq(*arguments, NO_COLOR="1", FORCE_COLOR="")
    assert "\x1b" not in ended.out + ended.err


def test_without_a_cluster_the_error_says_what_to_do() -> None:
    ended = raftq_inside("queue", "q", "--timeout", "300ms", "--address", "127.0.0.1:1")
    assert (ended.code, ended.out) == (4, "")
    assert "127.0.0.1:1" in ended.err and "raftq dev" in ended.err


def test_addresses_of_the_environment_give_way_to_the_flag() -> None:
    short = ("--timeout", "100ms")
    assert "127.0.0.1:2" in raftq_inside("queue", "q", *short, RAFTQ_ADDRESSES="127.0.0.1:2").err
    flag = ("--address", "127.0.0.1:3")
    assert (
        "127.0.0.1:3"
        in raftq_inside("queue", "q", *short, *flag, RAFTQ_ADDRESSES="127.0.0.1:2").err
    )


def test_each_error_code_has_the_exit_code_of_what_to_do_about_it() -> None:
    expected = {
        "unknown_task": 3,
        "forgotten_task": 3,
        "unknown_schedule": 3,
        "events_lost": 3,
        "forbidden": 5,
        "conflict": 6,
        "key_taken": 6,
        "cancelled": 6,
        "lease_lost": 6,
        "invalid_request": 2,
        "payload_too_large": 2,
    }
    for code, kind in ERRORS_BY_CODE.items():
        if issubclass(kind, UnavailableError):
            wanted = 4
        elif issubclass(kind, OutcomeUnknown):
            wanted = 124
        else:
            wanted = expected.get(code, 1)
        assert output.exit_code(kind("text")) == wanted, code


def test_an_interrupt_while_modules_are_loaded_ends_with_130_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(_: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("raftq.cli.commands.run", interrupted)
    monkeypatch.setattr("sys.argv", ["raftq", "queue", "q"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == output.EXIT_INTERRUPTED


# ---------------------------------------------------------------- node ready


class Readiness(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"ok" if self.status == 200 else b"no leader")

    def log_message(self, format: str, *args: object) -> None:
        pass


class Unready(Readiness):
    status = 503


@contextmanager
def http(handler: type[BaseHTTPRequestHandler]) -> Generator[str]:
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("extra", [(), ("--timeout", "5")], ids=["plain", "full"])
def test_readiness_is_an_exit_code(extra: tuple[str, ...]) -> None:
    with http(Readiness) as address:
        ended = raftq("node", "ready", "--http", address, *extra, http_proxy="http://127.0.0.1:1")
        assert (ended.code, ended.out, ended.err) == (0, "ok\n", "")
        ended = raftq("node", "ready", *extra, "--json", RAFTQ_HTTP=address)
        assert json.loads(ended.out) == {"http": address, "ready": True, "answer": "ok"}
    with http(Unready) as address:
        ended = raftq("node", "ready", "--http", address, *extra)
        assert (ended.code, ended.out, ended.err) == (1, "", "raftq: no leader\n")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "x:y", "", "127.0.0.1:"])
def test_a_node_that_cannot_be_asked_is_not_ready(address: str) -> None:
    ended = raftq("node", "ready", "--http", address)
    assert (ended.code, ended.out) == (1, "")
    assert "does not answer" in ended.err


def test_the_health_check_loads_no_command_line_and_costs_little() -> None:
    with http(Readiness) as address:
        command = [sys.executable, "-X", "importtime", "-m", "raftq.cli.main"]
        ended = subprocess.run(
            [*command, "node", "ready", "--http", address],
            capture_output=True,
            text=True,
            check=True,
            env=ENVIRONMENT,
        )
        loaded = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
        assert "http.client" in loaded
        heavy = {"typer", "rich", "asyncio", "msgspec", "msgpack", "importlib.metadata"}
        assert not loaded & heavy
        costs: list[float] = []
        for _ in range(3):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            raftq("node", "ready", "--http", address)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            costs.append(used)
        assert min(costs) < 0.15, f"{costs} s of CPU"


def test_commands_load_only_what_they_need() -> None:
    code = "import sys; from raftq.cli.commands import build; build('status'); print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT
    )
    loaded = ended.stdout.split()
    assert "raftq.cli.control.task" in loaded
    assert not {"raftq.cli.dev", "raftq.cli.bench", "raftq.core", "tornado"} & set(loaded)


# ---------------------------------------------------------------- tables


def test_tables_keep_long_values_whole(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("a", "b"), [("x" * 300, None), (1, "[bold]")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "x" * 300
    assert lines[0].split() == ["a", "b"] and lines[2].split() == ["1", "[bold]"]


def test_numbers_stand_to_the_right_and_words_to_the_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.print_table(("queue", "ready", "is_voter"), [("a", 5, True), ("long", 12_345, False)])
    assert capsys.readouterr().out.splitlines() == [
        "queue  ready  is_voter",
        "a          5  True",
        "long   12345  False",
    ]


def test_a_last_column_is_cut_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = ("task", "error"), [("t", "x" * 200)]
    output.print_table(*table, cut_last=True)
    assert capsys.readouterr().out.splitlines()[1] == "t     " + "x" * 200
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    output.print_table(*table, cut_last=True)
    assert capsys.readouterr().out.splitlines()[1] == "t     " + "x" * 73 + "…"
