"""How `raftq top` looks: a line on the cluster, its nodes, its queues."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from raftq.cli import moments
from raftq.cli.output import safe
from raftq.cli.top.nodes import NodeView
from raftq.cli.top.sampling import QueueView, View

_LINES_AROUND: Final = 8
"""Of the screen, beside nodes and queues."""
_QUEUES_MIN: Final = 3
_BEHIND_MUCH: Final = 10_000
"""Entries; a follower in a busy cluster is some hundreds behind all the time."""
_STATES: Final = {"sched.": "scheduled"}
"""Where a column has not the name of its state."""
_COLUMNS: Final = ("ready", "leased", "sched.", "blocked", "dead", "in/s", "done/s", "oldest")
_DISPENSABLE: Final = ("blocked", "sched.", "leased", "oldest", "dead")
"""Columns that a narrow screen does without, in this order."""
_GAP: Final = "  "
_NAME_MIN: Final = 14


def draw(view: View, width: int, height: int | None, trouble: str | None = None) -> RenderableType:
    """Return the view.

    Args:
        view: What is shown.
        width: Columns of the screen.
        height: Lines of the screen; None shows all queues.
        trouble: Why the view is old, if it is.
    """
    shown = view.queues
    if height is not None:
        room = height - len(view.look.nodes) - _LINES_AROUND
        shown = shown[: max(room, _QUEUES_MIN)]
    parts: list[RenderableType] = [_header(view)]
    if trouble is not None:
        parts.append(Text(trouble, "bold red", no_wrap=True, overflow="ellipsis"))
    parts += [Text(), _nodes(view.look.nodes), Text(), _queues(view, shown, width)]
    hidden = len(view.queues) - len(shown)
    if hidden:
        parts.append(Text(f"and {hidden:,} more with less to do", "dim"))
    return Group(*parts)


def _header(view: View) -> Text:
    look = view.look
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("raftq ", "bold")
    text.append(f"{safe(look.cluster_id)[:8]}  ")
    if look.leader is None:
        text.append("no leader", "bold red")
    else:
        text.append(f"leader {look.leader}")
    text.append(f"  term {look.term}  index {look.commit_index:,}  ")
    text.append(f"depth {number(view.depth)}  ")
    text.append(datetime.fromtimestamp(look.at_ms / 1_000).strftime("%H:%M:%S"), "dim")
    return text


def _nodes(nodes: list[NodeView]) -> Table:
    table = _table()
    table.add_column("node")
    table.add_column("role")
    table.add_column("applied", justify="right")
    table.add_column("behind", justify="right")
    for node in nodes:
        role = node.role if node.is_voter else f"{node.role}, learner"
        if node.applied_index is None:
            table.add_row(node.id, Text(f"{role}, no answer", "bold red"), "", "")
            continue
        behind = node.behind or 0
        table.add_row(
            node.id,
            Text(role, "bold" if node.role == "leader" else ""),
            f"{node.applied_index:,}",
            Text(f"{behind:,}", "yellow" if behind > _BEHIND_MUCH else ""),
        )
    return table


def _queues(view: View, shown: list[QueueView], width: int) -> Table:
    """Return the queues; on a narrow screen without some columns, and with names cut."""
    columns = {name: _cells(name, view, shown) for name in _COLUMNS}
    for name in _DISPENSABLE:
        if _name_room(columns, width) >= _NAME_MIN:
            break
        del columns[name]
    room = max(_name_room(columns, width), _NAME_MIN)
    table = _table()
    table.add_column("queue", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(
        f"all {len(view.queues):,}", *(each[0] for each in columns.values()), style="bold"
    )
    for at, each in enumerate(shown, 1):
        cells = {name: Text(values[at]) for name, values in columns.items()}
        if each.count("dead") and "dead" in cells:
            cells["dead"].stylize("red")
        table.add_row(_name(each, room), *cells.values())
    return table


def _cells(column: str, view: View, shown: list[QueueView]) -> list[str]:
    """Return a column: of all queues together, then of each."""
    rows: list[View | QueueView] = [view, *shown]
    if column == "in/s":
        return [rate(each.enqueued_per_second) for each in rows]
    if column == "done/s":
        return [rate(each.done_per_second) for each in rows]
    if column == "oldest":
        return [age(each.oldest_ready_ms) for each in rows]
    return [number(each.count(_STATES.get(column, column))) for each in rows]


def _name_room(columns: Mapping[str, list[str]], width: int) -> int:
    """Return how many characters are left for names."""
    taken = sum(max(len(each) for each in (name, *cells)) for name, cells in columns.items())
    return width - taken - len(_GAP) * len(columns)


def _name(queue: QueueView, room: int) -> Text:
    mark = " paused" if queue.is_paused else ""
    name = safe(queue.name)
    left = room - len(mark)
    text = Text(name if len(name) <= left else f"{name[: left - 1]}…")
    text.append(mark, "yellow")
    return text


def _table() -> Table:
    padding = (0, len(_GAP), 0, 0)
    return Table(box=None, pad_edge=False, padding=padding, header_style="dim", expand=False)


def number(count: int) -> str:
    """Return a count in at most seven characters: `99,999`, `123k`, `4.57M`."""
    if count < 100_000:
        return f"{count:,}"
    if count < 1_000_000:
        return f"{count // 1_000}k"
    return f"{count / 1_000_000:.2f}M" if count < 100_000_000 else f"{count // 1_000_000}M"


def rate(per_second: float) -> str:
    """Return a rate, with a decimal where it tells something."""
    if per_second == 0:
        return "0"
    return f"{per_second:.1f}" if per_second < 100 else number(round(per_second))


def age(milliseconds: int | None) -> str:
    """Return how long something waits, in at most seven characters."""
    if not milliseconds:
        return ""
    return moments.span(milliseconds)
