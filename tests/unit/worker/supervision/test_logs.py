"""The log of worker processes: JSON lines, with the ids of the task that runs."""

import json
import logging
from collections.abc import Generator
from uuid import UUID

import pytest
from tests.support.run_control import Control

from raftq.worker.context import Context, running_as
from raftq.worker.logs import Style, configure_logs

CONTEXT = Context(UUID(int=1), "send", "mail", 2, 77, Control())


Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def root() -> Generator[None]:
    logger = logging.getLogger()
    before = logger.handlers, logger.level
    yield
    logger.handlers, logger.level = before[0], before[1]


def test_a_line_is_json_and_names_its_process(capsys: Capture) -> None:
    configure_logs("info", "json", "2")
    logging.getLogger("raftq.worker").info("worker_ready", extra={"tasks": 3})
    logging.getLogger("raftq.worker").debug("not shown")
    line = json.loads(capsys.readouterr().err)
    assert line.pop("ts").startswith("20")
    assert line == {"event": "worker_ready", "level": "info", "tasks": 3, "process": "2"}


def test_what_anybody_logs_in_a_run_carries_the_tasks_ids(capsys: Capture) -> None:
    configure_logs("info", "json", "2")
    with running_as(CONTEXT):
        logging.getLogger("somebody.else").warning("%s is slow", "smtp")
        CONTEXT.logger.info("sent", extra={"bytes": 5})
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    ids = {"task_id": str(UUID(int=1)), "task_name": "send", "attempt": 2, "token": 77}
    assert ids.items() <= first.items() and first["event"] == "smtp is slow"
    assert ids.items() <= second.items() and second["bytes"] == 5


@pytest.mark.parametrize("style", ["json", "text"])
def test_an_exception_is_logged_with_its_calls(capsys: Capture, style: Style) -> None:
    configure_logs("info", style, "2")
    password = "s3cr" + "3t"
    try:
        raise ValueError("bad")
    except ValueError:
        logging.getLogger("x").exception("failed")
    written = capsys.readouterr().err
    assert "ValueError: bad" in written and "test_logs.py" in written
    assert password not in written, "variables are nobody's business"
