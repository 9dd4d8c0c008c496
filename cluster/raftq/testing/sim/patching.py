"""Replacing attributes of production code from the outside, for the length of a block."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Final, TypeAlias

Patch: TypeAlias = tuple[object, str, object]
"""(module or class, name, what stands there meanwhile)"""
_MISSING: Final = object()


@contextmanager
def patched(patches: Iterable[Patch]) -> Generator[None]:
    """Put each value in its place; restore what was there before."""
    kept: list[Patch] = []
    try:
        for target, name, value in patches:
            kept.append((target, name, vars(target).get(name, _MISSING)))
            setattr(target, name, value)
        yield
    finally:
        for target, name, value in reversed(kept):
            if value is _MISSING:
                delattr(target, name)
            else:
                setattr(target, name, value)


def original(target: object, name: str) -> object:
    """Return what stands at a name now, for a patch that goes on to call it.

    Raises:
        AttributeError: There is no such name: the code has changed, and the patch must follow.
    """
    if name not in vars(target):
        raise AttributeError(f"{target!r} has no {name!r} of its own")
    return vars(target)[name]
