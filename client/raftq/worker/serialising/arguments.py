"""The parameters of a function: its arguments and its result as bytes, by its annotations.

What is sent is read back before it leaves, by the same annotations that the worker reads it by. So
an argument that the worker could not read, or would see as something else, is refused where it is
enqueued, by name.
"""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar, get_args, get_type_hints

from raftq.worker.errors import InvalidArguments, InvalidTask, UnreadableResult
from raftq.worker.serialising.serializer import Serializer

_VAGUE: Final = (Any, object, list, tuple, set, frozenset, dict)
"""What holds anything, the containers if they have no parameters of their own."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a function, or its result."""

    name: str
    annotation: Any
    decode: Callable[[bytes], object]
    is_vague: bool
    """Whether the annotation leaves open what comes back; what it does not say is lost."""


class Arguments:
    """The parameters of one task's function.

    Annotations are looked at when the first arguments are, because they may name classes that are
    defined further down.

    Args:
        function: The task's function.
        task: The task's name, for errors.
        serializer: Stores the values.
    """

    def __init__(self, function: Callable[..., object], task: str, serializer: Serializer) -> None:
        self._function = function
        self._task = task
        self._serializer = serializer
        try:
            self._signature = inspect.signature(function)
        except ValueError as error:
            raise InvalidTask(f"task {task!r} has no known parameters: {error}") from None
        kinds = inspect.Parameter
        named = self._signature.parameters.values()
        self._positional = [
            each.name
            for each in named
            if each.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
        ]
        self._further = {each.kind: each.name for each in named}
        required = [each.name for each in named if _is_required(each)]
        is_plain = set(required) <= set(self._positional)
        self._counts = range(len(required), len(self._positional) + 1) if is_plain else range(0)
        """Of how many positional arguments it is plain that they fit, if there are no others."""

    def check(self) -> None:
        """Look at the annotations now.

        Raises:
            InvalidTask: One of them can never be read, or names what is not there.
        """
        _ = self._parameters, self._result

    @property
    def names(self) -> Collection[str]:
        """The names of the parameters."""
        return self._signature.parameters

    def named(
        self, args: Sequence[object], kwargs: Mapping[str, object], skipped: int = 0
    ) -> dict[str, object]:
        """Return arguments by name, defaults included; leading ones that are not known are not.

        Raises:
            InvalidArguments: They do not fit the function.
        """
        bound = self._bind([*[None] * skipped, *args], kwargs)
        bound.apply_defaults()
        return dict(list(bound.arguments.items())[skipped:])

    def encode(
        self, args: Sequence[object], kwargs: Mapping[str, object], skipped: int = 0
    ) -> tuple[list[bytes], dict[str, bytes]]:
        """Return arguments as bytes.

        Args:
            args: Positional ones.
            kwargs: Named ones.
            skipped: How many come before them, when they are known.

        Raises:
            InvalidArguments: They do not fit the function, or cannot be stored.
        """
        self._check_fit(args, kwargs, skipped)
        positional = [
            self._encode_one(self._parameter_at(index), value)
            for index, value in enumerate(args, skipped)
        ]
        named = {
            name: self._encode_one(self._parameter_named(name), value, name)
            for name, value in kwargs.items()
        }
        return positional, named

    def decode(
        self, args: Sequence[bytes], kwargs: Mapping[str, bytes], skipped: int = 0
    ) -> tuple[list[object], dict[str, object]]:
        """Return arguments as the annotations say.

        Args:
            args: Positional ones.
            kwargs: Named ones.
            skipped: How many come before them, when they are known.

        Raises:
            InvalidArguments: They do not fit the function.
        """
        self._check_fit(args, kwargs, skipped)
        positional = [
            self._decode_one(self._parameter_at(index), stored)
            for index, stored in enumerate(args, skipped)
        ]
        named = {
            name: self._decode_one(self._parameter_named(name), stored, name)
            for name, stored in kwargs.items()
        }
        return positional, named

    def encode_result(self, value: object) -> bytes | None:
        """Return a result as bytes; None stays None.

        Raises:
            InvalidArguments: It cannot be stored.
        """
        if value is None:
            return None
        try:
            return self._serializer.encode(value)
        except Exception as error:  # Whatever a serializer raises, it means no.
            raise InvalidArguments(
                f"the result of task {self._task!r} ({_kind(value)}) cannot be stored: {error}"
            ) from None

    def decode_result(self, stored: bytes | None) -> object:
        """Return a result as the return annotation says.

        Raises:
            UnreadableResult: It is something else.
        """
        if stored is None:
            return None
        try:
            return self._result.decode(stored)
        except Exception as error:  # Whatever a serializer raises, it means no.
            kind = _shown(self._result.annotation)
            raise UnreadableResult(
                f"the result of task {self._task!r} is not {kind}: {error}; `raw` has its bytes",
                stored,
            ) from None

    # ------------------------------------------------------------ one argument

    def _check_fit(
        self, args: Sequence[object], kwargs: Mapping[str, object], skipped: int
    ) -> None:
        # Not always bound: that takes longer than all else that is done to a few small arguments.
        if kwargs or len(args) + skipped not in self._counts:
            self._bind([*[None] * skipped, *args] if skipped else args, kwargs)

    def _bind(self, args: Sequence[object], kwargs: Mapping[str, object]) -> inspect.BoundArguments:
        try:
            return self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidArguments(
                f"task {self._task!r} is {self._task}{self._signature}: {error}"
            ) from None

    def _encode_one(self, parameter: Parameter, value: object, name: str = "") -> bytes:
        try:
            stored = self._serializer.encode(value)
        except Exception as error:  # Whatever a serializer raises, it means no.
            raise self._invalid(
                name or parameter.name,
                f"({_kind(value)}) cannot be sent: {error}; send what it is made of, or give the "
                "App a serializer that knows it",
            ) from None
        try:
            read = parameter.decode(stored)
        except Exception as error:
            raise self._invalid(
                name or parameter.name,
                f"is {_kind(value)}, not {_shown(parameter.annotation)}: {error}",
            ) from None
        if parameter.is_vague and not _are_equal(read, value):
            raise self._invalid(
                name or parameter.name,
                f"({_kind(value)}) would arrive as something else, like a list for a tuple or a "
                "str for a UUID: annotate it with its full type in the task's function",
            )
        return stored

    def _decode_one(self, parameter: Parameter, stored: bytes, name: str = "") -> object:
        try:
            return parameter.decode(stored)
        except Exception as error:  # Whatever a serializer raises, it means no.
            raise self._invalid(
                name or parameter.name, f"is not {_shown(parameter.annotation)}: {error}"
            ) from None

    def _invalid(self, name: str, problem: str) -> InvalidArguments:
        return InvalidArguments(f"argument {name!r} of task {self._task!r} {problem}", name)

    # ------------------------------------------------------------ annotations

    def _parameter_at(self, index: int) -> Parameter:
        if index < len(self._positional):
            return self._parameters[self._positional[index]]
        return self._parameters[self._further[inspect.Parameter.VAR_POSITIONAL]]

    def _parameter_named(self, name: str) -> Parameter:
        found = self._signature.parameters.get(name)
        if found is not None and found.kind in (
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            inspect.Parameter.KEYWORD_ONLY,
        ):
            return self._parameters[name]
        return self._parameters[self._further[inspect.Parameter.VAR_KEYWORD]]

    @cached_property
    def _parameters(self) -> dict[str, Parameter]:
        return {name: self._parameter(name) for name in self._signature.parameters}

    @cached_property
    def _result(self) -> Parameter:
        return self._parameter("return")

    @cached_property
    def _annotations(self) -> dict[str, Any]:
        try:
            return get_type_hints(self._function, include_extras=True)
        except (NameError, AttributeError, TypeError, SyntaxError) as error:
            raise InvalidTask(
                f"the annotations of task {self._task!r} cannot be evaluated: {error}; what they "
                "name must be imported when the program runs, not only for a type checker"
            ) from None

    def _parameter(self, name: str) -> Parameter:
        annotation = self._annotations.get(name, Any)
        try:
            decode = self._serializer.decoder(annotation)
        except Exception as error:  # Whatever a serializer raises, it means no.
            what = "the result" if name == "return" else f"argument {name!r}"
            raise InvalidTask(
                f"{what} of task {self._task!r} is {_shown(annotation)}, which cannot be read: "
                f"{error}"
            ) from None
        return Parameter(name, annotation, decode, _is_vague(annotation))


def _is_required(parameter: inspect.Parameter) -> bool:
    further = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is inspect.Parameter.empty and parameter.kind not in further


def _is_vague(annotation: Any) -> bool:
    """Tell whether an annotation leaves open, at any depth, what a value is."""
    # By identity, because metadata need not be comparable.
    if isinstance(annotation, TypeVar) or any(annotation is each for each in _VAGUE):
        return True
    return any(_is_vague(part) for part in get_args(annotation))


def _are_equal(one: object, other: object) -> bool:
    try:
        return bool(one == other)
    except Exception:  # Of some types, like arrays, a comparison is no truth value.
        return False


def _kind(value: object) -> str:
    return type(value).__qualname__


def _shown(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
