"""What the command line prints, and with which code it ends."""

import json
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, NoReturn, TypeVar

import typer

from raftq.protocol.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    LeaseLost,
    OutcomeUnknown,
    RaftqError,
    UnavailableError,
    UnknownTask,
)

T = TypeVar("T")

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_FOUND: Final = 3
EXIT_UNAVAILABLE: Final = 4
EXIT_NOT_ALLOWED: Final = 5
EXIT_CONFLICT: Final = 6
EXIT_TIMEOUT: Final = 124
EXIT_INTERRUPTED: Final = 130
_EXITS: Final[tuple[tuple[type[RaftqError], int], ...]] = (
    (UnknownTask, EXIT_NOT_FOUND),
    (LeaseLost, EXIT_CONFLICT),
    (Conflict, EXIT_CONFLICT),
    (Forbidden, EXIT_NOT_ALLOWED),
    (InvalidRequest, EXIT_USAGE),
    (UnavailableError, EXIT_UNAVAILABLE),
    (OutcomeUnknown, EXIT_TIMEOUT),
)
_ADVICE: Final[dict[int, str]] = {
    EXIT_UNAVAILABLE: "is the cluster running? `raftq dev` starts a local one; "
    "--address or RAFTQ_ADDRESSES say where it is",
    EXIT_TIMEOUT: "it may have happened: repeat it with the same id or token",
}


def say(text: str) -> None:
    """Print words for a person, to stderr."""
    print(text, file=sys.stderr)


def fail(error: RaftqError) -> NoReturn:
    """Say what went wrong and what to do, and end with the code for it."""
    code = next((code for kind, code in _EXITS if isinstance(error, kind)), EXIT_FAILED)
    advice = f" ({_ADVICE[code]})" if code in _ADVICE else ""
    say(f"raftq: {error.code}: {error.message}{advice}")
    raise typer.Exit(code)


def print_json(value: object) -> None:
    """Print a value as one line of JSON."""
    print(json.dumps(value, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    Console().print(table)


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values, one pair a line."""
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        print(f"{name:<{width}}  {'' if value is None else value}")


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a command's coroutine; errors become one line and an exit code."""
    import asyncio

    try:
        return asyncio.run(main())
    except RaftqError as error:
        fail(error)
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
