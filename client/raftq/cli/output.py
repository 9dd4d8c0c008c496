"""What the command line prints, and with which code it ends."""

import json
import shutil
import sys
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias, TypeVar

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
    "forgotten_task": EXIT_NOT_FOUND,
    "unknown_schedule": EXIT_NOT_FOUND,
    "events_lost": EXIT_NOT_FOUND,
    "lease_lost": EXIT_CONFLICT,
    "cancelled": EXIT_CONFLICT,
    "conflict": EXIT_CONFLICT,
    "key_taken": EXIT_CONFLICT,
    "forbidden": EXIT_NOT_ALLOWED,
    "invalid_request": EXIT_USAGE,
    "payload_too_large": EXIT_USAGE,
}
"""Exit codes of request errors; those of the other groups go by the group."""
_GROUP_ADVICE: Final = {
    EXIT_UNAVAILABLE: "is the cluster running? `raftq dev` starts a local one; "
    "--address, RAFTQ_ADDRESSES or raftq.toml say where it is",
    EXIT_TIMEOUT: "it may have happened: repeat it with the same id or token",
}
_ADVICE: Final = {
    "queue_full": "lease and finish tasks, or try again later; `raftq queue show NAME` and "
    "`raftq quota show` tell the quotas",
    "rate_limited": "try again later; `raftq queue show NAME` and `raftq quota show` tell the "
    "rates",
    "forbidden": "RAFTQ_TOKEN, or a file that RAFTQ_TOKEN_FILE or raftq.toml names, says who you "
    "are; `raftq config show` tells what counts",
    "disk_full": "free space on the leader's disk",
    "lease_lost": "lease it again; `raftq status TASK_ID` shows what became of the task",
    "unknown_task": "check the id; finished tasks are forgotten after a while",
    "forgotten_task": "a longer result_ttl of its queue keeps outcomes longer",
    "unknown_schedule": "`raftq schedule list` shows all",
    "cancelled": "stop the run, and give the lease back with `raftq requeue`",
    "key_taken": "wait until that task is over, or say --on-conflict existing or replace",
}
Advice: TypeAlias = Mapping[str, str]
"""Code of an error → what to do; `outcome_unknown` stands for all that leave a doubt."""
NO_ADVICE: Final[Advice] = {}


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


def fail(error: "RaftqError", advice: Advice = NO_ADVICE) -> NoReturn:
    """Say what went wrong and what to do, and end with the code for it.

    Args:
        error: What went wrong.
        advice: What to do about some errors of this command, before what is usual.
    """
    code = exit_code(error)
    group = "outcome_unknown" if code == EXIT_TIMEOUT else error.code
    words = advice.get(group) or _ADVICE.get(error.code) or _GROUP_ADVICE.get(code)
    say(f"raftq: {error.code}: {error.message}" + (f" ({words})" if words else ""))
    raise typer.Exit(code)


def print_json(value: object) -> None:
    """Print a value as one line of JSON."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, cut_last: bool = False
) -> None:
    """Print rows under their columns' names, numbers to the right; values are not folded.

    Args:
        columns: Their names.
        rows: A value for each column.
        cut_last: On a terminal, cut the last column to what fits; it is never cut in a pipe.
    """
    table = [list(columns), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(columns))]
    is_number = [
        bool(rows) and all(type(row[column]) in (int, float, type(None)) for row in rows)
        for column in range(len(columns))
    ]
    room = _terminal_columns() if cut_last else None
    for row in table:
        padded = (
            f"{cell:>{width}}" if right else f"{cell:<{width}}"
            for cell, width, right in zip(row, widths, is_number, strict=True)
        )
        print(_cut("  ".join(padded).rstrip(), room))


def _terminal_columns() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _cut(line: str, columns: int | None) -> str:
    return line if columns is None or len(line) <= columns else line[: columns - 1] + "…"


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def printable(data: bytes) -> str:
    """Return bytes as one line of text that cannot trouble a terminal, cut to 80 characters."""
    shown = safe(data.decode(errors="replace"))
    return shown if len(shown) <= 80 else shown[:79] + "…"


def safe(text: str) -> str:
    """Return text as one line that cannot trouble a terminal."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values, one pair a line."""
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        print(f"{name:<{width}}  {_cell(value)}".rstrip())


@contextmanager
def errors_in_words() -> Generator[None]:
    """Turn an error of a block into one line and an exit code."""
    from raftq.protocol.errors import RaftqError

    try:
        yield
    except RaftqError as error:
        fail(error)


def run(main: Callable[[], Coroutine[Any, Any, T]], advice: Advice = NO_ADVICE) -> T:
    """Run a command's coroutine; errors become one line and an exit code. See `fail`."""
    import asyncio

    from raftq.protocol.errors import RaftqError

    try:
        return asyncio.run(main())
    except RaftqError as error:
        fail(error, advice)
    except KeyboardInterrupt:
        say("interrupted")
        raise typer.Exit(EXIT_INTERRUPTED) from None
