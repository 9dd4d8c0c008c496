"""The options that choose tasks, the same in every command that has them."""

from collections.abc import Callable
from typing import Annotated, Any, Final, cast

import typer

from raftq.cli import output
from raftq.cli.control.bundles import bundled
from raftq.cli.moments import read_past
from raftq.client import FilterKeywords, TaskState
from raftq.protocol import limits

_OPTIONS: Final[dict[str, Any]] = {
    "queue": Annotated[
        str | None, typer.Option("--queue", "-q", metavar="NAME", help="Of this queue.")
    ],
    "states": Annotated[
        list[TaskState] | None,
        typer.Option(
            "--state",
            "-s",
            metavar="STATE",
            help=f"In this state; repeatable. {', '.join(TaskState)}.",
        ),
    ],
    "error_contains": Annotated[
        str | None,
        typer.Option("--error", metavar="TEXT", help="With this text in the newest error."),
    ],
    "enqueued_before": Annotated[
        str | None,
        typer.Option(
            "--before",
            metavar="WHEN",
            help="Enqueued longer ago than this, like 1h, or before 2026-12-24T18:00.",
        ),
    ],
    "enqueued_after": Annotated[
        str | None,
        typer.Option(
            "--after", metavar="WHEN", help="Enqueued within this time, or after an instant."
        ),
    ],
    "priority": Annotated[
        int | None,
        typer.Option(
            "--priority", metavar="N", min=0, max=limits.PRIORITY_MAX, help="Of this priority."
        ),
    ],
    "unique_key": Annotated[
        str | None, typer.Option("--unique-key", metavar="KEY", help="With this key.")
    ],
    "order_key": Annotated[
        str | None, typer.Option("--order-key", metavar="KEY", help="With this key.")
    ],
    "limit_key": Annotated[
        str | None, typer.Option("--limit-key", metavar="KEY", help="With this key.")
    ],
    "fair_key": Annotated[
        str | None, typer.Option("--fair-key", metavar="KEY", help="With this key.")
    ],
}
"""Keyword of a filter → its option."""


def filtered(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options that choose tasks; its parameter `where` gets what they say.

    Args:
        without: Keywords for which it has something else.
    """
    chosen = {name: (option, None) for name, option in _OPTIONS.items() if name not in without}
    return lambda command: bundled(command, "where", chosen, _keywords)


def _keywords(told: dict[str, Any]) -> FilterKeywords:
    given = {name: value for name, value in told.items() if value not in (None, [])}
    with output.errors_in_words():
        for name in ("enqueued_before", "enqueued_after"):
            if name in given:
                given[name] = read_past(given[name])
    return cast(FilterKeywords, given)
