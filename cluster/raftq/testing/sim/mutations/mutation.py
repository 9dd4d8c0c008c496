"""What a mutation is: one safeguard taken out of production code, from the outside."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from raftq.testing.sim.patching import Patch

Inside: TypeAlias = Any
"""Production objects, seen from a mutation: it reaches into private parts on purpose."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """A safeguard that can be switched off.

    Args:
        summary: What is missing then.
        patches: Makes the patches, when the mutation begins.
        scenarios: Where its absence shows, the best first.
        nodes: The size of cluster that shows it best.
        not_shown_because: Why no run can show it; such a one is not among `all`.
        shown_by: The unit test that fails then instead, as pytest names it.
    """

    summary: str
    patches: Callable[[], Iterable[Patch]]
    scenarios: tuple[str, ...]
    nodes: int = 3
    not_shown_because: str = ""
    shown_by: str = ""
