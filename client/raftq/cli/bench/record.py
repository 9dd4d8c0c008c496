"""What one run of `raftq bench` leaves: as JSON, and read again from it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from raftq.cli.bench.curves import Point
from raftq.cli.bench.figures import Figure, Pick

FORMAT: Final = 1


class BadRecord(ValueError):
    """A file is no record of a run; the text says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """One run.

    Attributes:
        machine: See `describe_machine`.
        settings: What was asked for.
        figures: Of all cases.
        curves: Of all curves, by name.
    """

    machine: Mapping[str, object]
    settings: Mapping[str, object]
    figures: list[Figure]
    curves: dict[str, list[Point]] = field(default_factory=dict[str, list[Point]])

    def json(self) -> dict[str, object]:
        """Return the form that `--json` prints."""
        return {
            "format": FORMAT,
            "machine": dict(self.machine),
            "settings": dict(self.settings),
            "figures": [figure_json(figure) for figure in self.figures],
            "curves": {
                name: [asdict(each) for each in curve] for name, curve in self.curves.items()
            },
        }


def figure_json(figure: Figure) -> dict[str, object]:
    """Return a figure with the value that stands for all, and its spread."""
    return {
        "case": figure.case,
        "what": figure.what,
        "unit": figure.unit,
        "pick": figure.pick.value,
        "value": figure.value,
        "min": min(figure.values),
        "max": max(figure.values),
        "values": figure.values,
    }


def read_record(path: Path) -> Record:
    """Read what `raftq bench --json` printed.

    Raises:
        BadRecord: It cannot be read, or is something else.
    """
    try:
        content: Any = json.loads(path.read_text())
        if content["format"] != FORMAT:
            raise BadRecord(f"{path} has format {content['format']}; this raftq reads {FORMAT}")
        figures = [
            Figure(
                str(each["case"]),
                str(each["what"]),
                str(each["unit"]),
                Pick(each["pick"]),
                [float(value) for value in each["values"]],
            )
            for each in content["figures"]
        ]
        curves = {
            str(name): [Point(**point) for point in curve]
            for name, curve in content["curves"].items()
        }
        return Record(content["machine"], content["settings"], figures, curves)
    except OSError as error:
        raise BadRecord(f"{path} cannot be read: {error.strerror}") from None
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadRecord(
            f"{path} is not what `raftq bench --json` prints: {type(error).__name__}: {error}"
        ) from None
