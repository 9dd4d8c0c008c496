"""The log of worker processes: the standard library's, made readable by structlog.

JSON lines unless stderr is a terminal. Lines that are logged while a task runs carry its ids,
whoever logs them. Arguments, payloads and results are never logged.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final, Literal, TypeAlias

import structlog

from raftq.worker.context import current
from raftq.worker.errors import NotRunning

Level: TypeAlias = Literal["debug", "info", "warning", "error"]
Style: TypeAlias = Literal["auto", "json", "text"]
_Event: TypeAlias = MutableMapping[str, Any]
_NAME: Final = "raftq-worker"


def configure_logs(level: Level, style: Style, process: str) -> None:
    """Send this process's log to stderr.

    Args:
        level: debug, info, warning or error.
        style: `auto` is text on a terminal, else JSON.
        process: Which one of the worker's it is; stamped on every line.
    """
    is_terminal = sys.stderr.isatty()

    def stamp(_logger: object, _method: str, event: _Event) -> _Event:
        event["process"] = process
        return event

    before: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        stamp,
        _add_run,
    ]
    last: list[structlog.typing.Processor]
    if style == "json" or (style == "auto" and not is_terminal):
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        # Plain tracebacks: the pretty ones show variables, among them arguments of tasks.
        last = [
            structlog.dev.ConsoleRenderer(
                colors=is_terminal,
                timestamp_key="ts",
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.set_name(_NAME)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())


def _add_run(_logger: object, _method: str, event: _Event) -> _Event:
    """Add the ids of the task that runs here, if one does."""
    try:
        run = current()
    except NotRunning:
        return event
    event.setdefault("task_id", str(run.task_id))
    event.setdefault("task_name", run.name)
    event.setdefault("attempt", run.attempt)
    event.setdefault("token", run.token)
    return event
