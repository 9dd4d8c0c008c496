"""What is measured: one sample a round, and the figure that all samples of a kind make."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median
from typing import Final

PER_SECOND: Final = "/s"
_MORE_IS_BETTER: Final = frozenset({PER_SECOND})


class Pick(StrEnum):
    """Which of a figure's values stands for all."""

    MEDIAN = "median"
    WORST = "worst"


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured value.

    Attributes:
        case: The name of the case.
        what: What was measured in it.
        unit: A short one, like `ms`.
        value: In that unit.
        pick: Which of the rounds' values is shown.
    """

    case: str
    what: str
    unit: str
    value: float
    pick: Pick = Pick.MEDIAN


@dataclass(slots=True)
class Figure:
    """The samples of one kind, over all rounds."""

    case: str
    what: str
    unit: str
    pick: Pick
    values: list[float] = field(default_factory=list[float])

    @property
    def value(self) -> float:
        """The value that is shown."""
        if self.pick is Pick.MEDIAN:
            return median(self.values)
        return min(self.values) if self.is_more_better else max(self.values)

    @property
    def is_more_better(self) -> bool:
        """Whether a greater value is the better one."""
        return self.unit in _MORE_IS_BETTER


def gather(samples: Iterable[Sample]) -> list[Figure]:
    """Return the figures that samples make, in the order in which they first came."""
    figures: dict[tuple[str, str, str, Pick], Figure] = {}
    for sample in samples:
        key = (sample.case, sample.what, sample.unit, sample.pick)
        figures.setdefault(key, Figure(*key)).values.append(sample.value)
    return list(figures.values())


def percentile(values: list[float], percent: int) -> float:
    """Return the value that so many percent of the sorted values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]
