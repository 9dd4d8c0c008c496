"""Keys of a task that follow from its arguments: `"user-{user_id}"`, or a function of them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from string import Formatter
from typing import Final, TypeAlias

from raftq.worker.errors import InvalidArguments, InvalidTask

KeyOption: TypeAlias = str | Callable[..., str | None] | None
"""A text in which `{…}` stands for an argument, or a function of the task's arguments that returns
the key, or None for a call that has none."""
Named: TypeAlias = Callable[[], Mapping[str, object]]
"""Returns the arguments of a call by name, defaults included."""


class KeyRule:
    """How one key of a task is made.

    Args:
        option: Its name, like `unique_key`.
        rule: What was said.
    """

    def __init__(self, option: str, rule: str | Callable[..., str | None]) -> None:
        self._option: Final = option
        self._rule: Final = rule

    def check(self, task: str, parameters: Collection[str]) -> None:
        """Raise InvalidTask if it names an argument that the task does not have."""
        if not isinstance(self._rule, str):
            return
        try:
            fields = [
                field for _, field, _, _ in Formatter().parse(self._rule) if field is not None
            ]
        except ValueError as error:
            raise InvalidTask(f"task {task!r}: {self._option}: {error}") from None
        for field in fields:
            name = field.replace("[", ".").partition(".")[0]
            if name not in parameters:
                raise InvalidTask(
                    f"task {task!r}: {self._option} names {name!r}, which is none of its "
                    f"parameters: {', '.join(parameters)}"
                )

    def key(self, args: Sequence[object], kwargs: Mapping[str, object], named: Named) -> str | None:
        """Return the key of a call.

        Raises:
            InvalidArguments: It cannot be made of these arguments.
        """
        try:
            if isinstance(self._rule, str):
                return self._rule.format_map(named())
            return _checked(self._rule(*args, **kwargs))
        except Exception as error:  # Whatever a function of the user's raises.
            raise InvalidArguments(
                f"{self._option} cannot be made of these arguments: {type(error).__name__}: {error}"
            ) from error


def _checked(made: object) -> str | None:
    """Return what a function of the user's made, if it is a key."""
    if made is None or isinstance(made, str):
        return made
    raise TypeError(f"the function returned {made!r}; a key is a str, or None")
