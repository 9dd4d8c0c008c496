"""Logs: the standard library's logging, made readable by structlog.

JSON lines with fixed keys (`ts level event node …`) unless stderr is a terminal. Payloads and
results are never logged. structlog, because it renders standard log records both ways.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog


def configure_logs(level: str, style: str, node: str) -> None:
    """Send this process's log to stderr.

    Args:
        level: debug, info, warning or error.
        style: auto, json or text.
        node: Stamped on every line.
    """
    as_json = style == "json" or (style == "auto" and not sys.stderr.isatty())

    def stamp(
        _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        event["node"] = node
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        stamp,
    ]
    renderers: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                timestamp_key="ts",
                exception_formatter=structlog.dev.plain_traceback,  # No values: they may be secret.
            )
        ]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # Tornado and asyncio speak of every odd client; PySyncObj of what the guard handles.
    for noisy in ("tornado.access", "tornado.general", "asyncio", "pysyncobj"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
