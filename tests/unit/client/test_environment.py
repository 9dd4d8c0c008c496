"""Where the command line finds its credentials, and what it says when it does not."""

import re
from pathlib import Path

import pytest
import typer.main
from tests.support.clusters import raftq_inside

from raftq.cli.commands import build
from raftq.client.environment import client_credentials
from raftq.protocol.errors import InvalidRequest


def test_a_token_in_the_environment_goes_before_one_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("rq_file\n")
    assert client_credentials({}) == (None, None)
    assert client_credentials({"RAFTQ_TOKEN": " rq_env\n"}) == ("rq_env", None)
    both = {"RAFTQ_TOKEN": "rq_env", "RAFTQ_TOKEN_FILE": str(file)}
    assert client_credentials(both)[0] == "rq_env"
    assert client_credentials({"RAFTQ_TOKEN_FILE": str(file)})[0] == "rq_file"
    assert client_credentials({"RAFTQ_TOKEN": "", "RAFTQ_TLS_CA": "ca.crt"}) == (None, "ca.crt")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for wrong in (tmp_path / "missing", tmp_path, binary):
        with pytest.raises(InvalidRequest, match=re.escape(str(wrong))):
            client_credentials({"RAFTQ_TOKEN_FILE": str(wrong)})
        ended = raftq_inside("cluster", RAFTQ_TOKEN_FILE=str(wrong))
        assert (ended.code, ended.out) == (2, "") and str(wrong) in ended.err


TASK_KEYS = {"--unique-key", "--order-key", "--limit-key", "--fair-key", "key"}
"""Keys of tasks, which are names and no secrets."""


def test_no_command_takes_a_secret_as_an_argument() -> None:
    """Arguments stand in shell histories and in the list of processes."""
    root = typer.main.get_command(build())
    pending, options = [root], list[str]()
    while pending:
        command = pending.pop()
        pending += getattr(command, "commands", {}).values()
        options += [name for each in command.params for name in each.opts]
    assert len(options) > 30
    telling = [name for name in options if re.search("token|secret|password|key", name)]
    assert [name for name in telling if name not in TASK_KEYS] == ["token"] * 4
