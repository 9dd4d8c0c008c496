"""The curves as a picture: `raftq bench --plot FILE`. Needs matplotlib, an optional extra."""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from raftq.cli.bench.curves import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENDINGS: Final = (".png", ".svg", ".pdf")
_SIZE_INCHES: Final = (15.0, 4.6)
_DOTS_PER_INCH: Final = 100


class CannotPlot(Exception):
    """There will be no picture; the text says why, and what to do."""


def check_can_plot(path: Path) -> None:
    """Make sure that a picture can be written, before anything is measured for it.

    Raises:
        CannotPlot: It cannot.
    """
    if path.suffix not in ENDINGS:
        raise CannotPlot(f"--plot is {path}; its name must end in {', '.join(ENDINGS)}")
    if not path.resolve().parent.is_dir():
        raise CannotPlot(f"--plot is {path}; there is no folder {path.resolve().parent}")
    if find_spec("matplotlib") is None:
        raise CannotPlot("--plot needs matplotlib; `pip install 'raftq[plot]'` brings it")


def plot(path: Path, curves: Mapping[str, Sequence[Point]], title: str) -> None:
    """Draw the curves beside each other into a file.

    Args:
        path: Its ending says which format.
        curves: By name; see `CURVES`.
        title: A line above all.

    Raises:
        CannotPlot: There is nothing to draw.
    """
    drawn = [(draw, curves[name]) for name, draw in _DRAWERS.items() if curves.get(name)]
    if not drawn:
        raise CannotPlot("there are no curves in this run; measure them with --plot")
    from matplotlib.figure import Figure

    width = _SIZE_INCHES[0] * len(drawn) / len(_DRAWERS)
    picture = Figure((width, _SIZE_INCHES[1]), layout="constrained")
    picture.suptitle(title, fontsize=10)
    for number, (draw, points) in enumerate(drawn, 1):
        axes = picture.add_subplot(1, len(drawn), number)
        draw(axes, points)
        axes.grid(visible=True, alpha=0.3)
    picture.savefig(path, dpi=_DOTS_PER_INCH)


def _latency(axes: "Axes", points: Sequence[Point]) -> None:
    rates = [point.rate for point in points]
    for name, times, mark in (
        ("p50", [point.p50_ms for point in points], "o"),
        ("p99", [point.p99_ms for point in points], "^"),
    ):
        axes.plot(rates, times, marker=mark, label=name)
    axes.set(
        title="Enqueue latency as the offered load grows",
        xlabel="accepted, one task a call (tasks/s)",
        ylabel="latency (ms)",
        yscale="log",
    )
    axes.legend()


def _backlog(axes: "Axes", points: Sequence[Point]) -> None:
    axes.plot([point.at for point in points], [point.rate for point in points], marker="o")
    axes.set(
        title="Life cycles as the backlog grows",
        xlabel="tasks waiting in the queue",
        ylabel="life cycles, batched (tasks/s)",
        ylim=(0, None),
    )


def _payload(axes: "Axes", points: Sequence[Point]) -> None:
    sizes = [point.at for point in points]
    axes.plot(sizes, [point.rate for point in points], marker="o", label="tasks/s")
    axes.plot(
        sizes,
        [point.rate * point.at / 1e6 for point in points],
        marker="^",
        label="MB/s of payload",
    )
    axes.set(
        title="Life cycles as payloads grow",
        xlabel="bytes of a payload",
        ylabel="life cycles, batched",
        xscale="log",
        yscale="log",
    )
    axes.legend()


_DRAWERS: Final[dict[str, Callable[["Axes", Sequence[Point]], None]]] = {
    "offered-load": _latency,
    "waiting-tasks": _backlog,
    "payload-bytes": _payload,
}
