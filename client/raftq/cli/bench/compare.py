"""Two runs beside each other: `raftq bench --compare OLD.json`."""

from dataclasses import dataclass
from typing import Final

from raftq.cli.bench.figures import Figure
from raftq.cli.bench.record import Record

_NOTED: Final = ("processor", "cores", "system", "file_system", "python")
_SAME: Final = 1.05
"""Ratios up to this are called the same: rounds differ by more."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure, then and now."""

    figure: Figure
    old: float

    @property
    def ratio(self) -> float | None:
        """Now through then; None if there was nothing then."""
        return self.figure.value / self.old if self.old else None

    @property
    def verdict(self) -> str:
        """`better`, `worse` or nothing, if they are about the same."""
        ratio = self.ratio
        if ratio is None or 1 / _SAME <= ratio <= _SAME:
            return ""
        return "better" if (ratio > 1) == self.figure.is_more_better else "worse"

    def json(self) -> dict[str, object]:
        """Return the form that `--json` prints."""
        return {
            "case": self.figure.case,
            "what": self.figure.what,
            "unit": self.figure.unit,
            "old": self.old,
            "new": self.figure.value,
            "ratio": self.ratio,
        }


def changes(new: Record, old: Record) -> list[Change]:
    """Return what is in both runs, in the order of the new one."""
    then = {_key(figure): figure.value for figure in old.figures}
    return [Change(each, then[_key(each)]) for each in new.figures if _key(each) in then]


def differences(new: Record, old: Record) -> list[str]:
    """Return what else was different, in words: then the ratios tell less."""
    found = [
        f"{name} was {old.machine.get(name)}, is {new.machine.get(name)}"
        for name in _NOTED
        if old.machine.get(name) != new.machine.get(name)
    ]
    names = sorted({*old.settings, *new.settings})
    return found + [
        f"{name} was {old.settings.get(name)}, is {new.settings.get(name)}"
        for name in names
        if old.settings.get(name) != new.settings.get(name)
    ]


def _key(figure: Figure) -> tuple[str, str, str]:
    return figure.case, figure.what, figure.unit
