"""What the command line prints, and with which code it ends."""

import json
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from raftq.protocol.errors import RaftqError

T = TypeVar("T")

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_FOUND: Final = 3
EXIT_UNAVAILABLE: Final = 4
EXIT_NOT_ALLOWED: Final = 5
EXIT_CONFLICT: Final = 6
EXIT_TIMEOUT: Final = 124
EXIT_INTERRUPTED: Final = 130
_CODES: Final = {
    "unknown_task": EXIT_NOT_FOUND,
    "lease_lost": EXIT_CONFLICT,
    "conflict": EXIT_CONFLICT,
    "forbidden": EXIT_NOT_ALLOWED,
    "invalid_request": EXIT_USAGE,
    "payload_too_large": EXIT_USAGE,
}
"""Exit codes of request errors; those of the other groups go by the group."""
_GROUP_ADVICE: Final = {
    EXIT_UNAVAILABLE: "is the cluster running? `raftq dev` starts a local one; "
    "--address or RAFTQ_ADDRESSES say where it is",
    EXIT_TIMEOUT: "it may have happened: repeat it with the same id or token",
}
_ADVICE: Final = {
    "queue_full": "lease and finish tasks, or try again later",
    "rate_limited": "try again later",
    "forbidden": "RAFTQ_TOKEN, or a file that RAFTQ_TOKEN_FILE names, says who you are",
    "disk_full": "free space on the leader's disk",
    "lease_lost": "lease it again; `raftq status TASK_ID` shows what became of the task",
    "unknown_task": "check the id; finished tasks are forgotten after an hour",
    "conflict": "use another id, or the same payload and queue",
}


def say(text: str) -> None:
    """Print words for a person, to stderr."""
    print(text, file=sys.stderr)


def exit_code(error: "RaftqError") -> int:
    """Return the exit code for an error."""
    from raftq.protocol.errors import OutcomeUnknown, UnavailableError

    if isinstance(error, UnavailableError):
        return EXIT_UNAVAILABLE
    if isinstance(error, OutcomeUnknown):
        return EXIT_TIMEOUT
    return _CODES.get(error.code, EXIT_FAILED)


def fail(error: "RaftqError") -> NoReturn:
    """Say what went wrong and what to do, and end with the code for it."""
    code = exit_code(error)
    advice = _ADVICE.get(error.code) or _GROUP_ADVICE.get(code)
    advice = f" ({advice})" if advice else ""
    say(f"raftq: {error.code}: {error.message}{advice}")
    raise typer.Exit(code)


def print_json(value: object) -> None:
    """Print a value as one line of JSON."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their columns' names; values are never cut or folded."""
    table = [list(columns), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(columns))]
    for row in table:
        padded = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        print("  ".join(padded).rstrip())


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def printable(data: bytes) -> str:
    """Return bytes as one line of text that cannot trouble a terminal."""
    text = data.decode(errors="replace")
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    return shown if len(shown) <= 80 else shown[:79] + "…"


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values, one pair a line."""
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        print(f"{name:<{width}}  {_cell(value)}".rstrip())


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a command's coroutine; errors become one line and an exit code."""
    import asyncio

    from raftq.protocol.errors import RaftqError

    try:
        return asyncio.run(main())
    except RaftqError as error:
        fail(error)
    except KeyboardInterrupt:
        say("interrupted")
        raise typer.Exit(EXIT_INTERRUPTED) from None
