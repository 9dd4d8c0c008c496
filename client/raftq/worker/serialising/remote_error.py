"""An exception as the text that is recorded with a failed run, and back.

The text is for people first (`raftq status` prints it): the type's name, its message, and the
traceback as Python prints it. Nothing in it is ever imported or executed.
"""

import re
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from raftq.protocol import limits

_TRACEBACK: Final = "Traceback (most recent call last):\n"
_HEADLINE: Final = r"(?:  \+ Exception Group )?Traceback \(most recent call last\):"
_SEPARATOR: Final = re.compile(rf"\n\n(?={_HEADLINE}\n)")
"""A blank line and the first line of a traceback, as Python prints them."""
_LOOKALIKE: Final = re.compile(rf"\n{{2,}}(?={_HEADLINE}(?:\n|\Z))")
"""What in a message could be taken for it, alone or with what follows."""
_MESSAGE_CHARACTERS_MAX: Final = limits.ERROR_TEXT_CHARACTERS_MAX // 4
_HEAD: Final = re.compile(r"([^\W\d]\w*(?:\.(?:[^\W\d]\w*|<locals>))*)(?:: |\Z)")


@dataclass(frozen=True, slots=True)
class RemoteError:
    """The reason of a failed run."""

    type: str
    """The qualified name of the exception's class, builtins without their module; `""` if the
    reason is no exception, like a lease that ran out."""
    message: str
    traceback: str = ""
    """As Python prints it, its oldest calls left out if it was long; `""` if there is none."""

    @classmethod
    def of(cls, error: BaseException) -> "RemoteError":
        """Return what is to be recorded of an exception."""
        return cls(type_name(type(error)), _message_of(error), _traceback_of(error))

    @property
    def text(self) -> str:
        """The text to record: bounded, and valid Unicode."""
        message = _LOOKALIKE.sub("\n", self.message)  # The separator ends the message.
        head = _shortened(f"{self.type}: {message}", _MESSAGE_CHARACTERS_MAX)
        if self.traceback:
            room = limits.ERROR_TEXT_CHARACTERS_MAX - len(head) - 2
            head = f"{head}\n\n{_newest_calls(self.traceback, room)}"
        return head.encode(errors="replace").decode()

    @classmethod
    def parse(cls, text: str) -> "RemoteError":
        """Return the reason that a text tells; any text is one."""
        head, *calls = _SEPARATOR.split(text, maxsplit=1)
        match = _HEAD.match(head)
        if match is None:
            return cls("", text)
        return cls(match[1], head[match.end() :], *calls)


def type_name(kind: type[BaseException]) -> str:
    """Return a class's qualified name, without the module if it is a builtin."""
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def local_exception(error: RemoteError, known: Iterable[type[Exception]]) -> Exception | None:
    """Make an exception again, if its class is one of these; None if it is not or cannot be made.

    The class is found by comparing names, never by importing what the text says.
    """
    for kind in known:
        if type_name(kind) == error.type:
            try:
                return kind(error.message)
            except Exception:
                return None  # Its constructor wants something else than a message.
    return None


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text cannot be shown)"


def _traceback_of(error: BaseException) -> str:
    """Return the traceback from the task's function on; nothing if the failure is not its own."""
    calls = error.__traceback__
    while calls is not None and _is_ours(calls):
        calls = calls.tb_next
    if calls is None:
        return ""
    try:
        return "".join(traceback.format_exception(type(error), error, calls))
    except Exception:
        return ""  # The text of an exception in the chain cannot be shown.


def _is_ours(calls: TracebackType) -> bool:
    return str(calls.tb_frame.f_globals.get("__name__", "")).startswith("raftq.worker.")


def _shortened(text: str, characters_max: int) -> str:
    if len(text) <= characters_max:
        return text
    return text[: characters_max - 1] + "…"


def _newest_calls(text: str, characters_max: int) -> str:
    """Return a traceback without its oldest calls: the newest tell where it went wrong."""
    if len(text) <= characters_max:
        return text
    head = _TRACEBACK + "  …\n"
    return head + text[len(text) - (characters_max - len(head)) :]
