"""How `raftq top` looks: a line on the cluster, its nodes, its queues."""

from datetime import datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from raftq.cli import moments
from raftq.cli.output import safe
from raftq.cli.top.nodes import NodeView
from raftq.cli.top.sampling import QueueView, View

_LINES_AROUND: Final = 7
"""Of the screen, beside nodes and queues."""
_QUEUES_MIN: Final = 3
_BEHIND_MUCH: Final = 10_000
"""Entries; a follower in a busy cluster is some hundreds behind all the time."""
_COUNTED: Final = ("ready", "leased", "scheduled", "blocked", "dead")


def draw(view: View, height: int | None, trouble: str | None = None) -> RenderableType:
    """Return the view.

    Args:
        view: What is shown.
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
    parts += [Text(), _nodes(view.look.nodes), Text(), _queues(view, shown)]
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


def _queues(view: View, shown: list[QueueView]) -> Table:
    table = _table()
    table.add_column("queue", ratio=1, no_wrap=True, overflow="ellipsis", min_width=8)
    for name in (*_COUNTED, "in/s", "done/s", "oldest"):
        table.add_column("sched." if name == "scheduled" else name, justify="right", no_wrap=True)
    total = [
        *(number(view.count(state)) for state in _COUNTED),
        rate(view.enqueued_per_second),
        rate(view.done_per_second),
        age(view.oldest_ready_ms),
    ]
    table.add_row(Text(f"all {len(view.queues):,}"), *total, style="bold")
    for each in shown:
        shown_name = Text(safe(each.name))
        if each.is_paused:
            shown_name.append(" paused", "yellow")
        dead = each.count("dead")
        table.add_row(
            shown_name,
            *(number(each.count(state)) for state in _COUNTED[:-1]),
            Text(number(dead), "red" if dead else ""),
            rate(each.enqueued_per_second),
            rate(each.done_per_second),
            age(each.oldest_ready_ms),
        )
    return table


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", expand=False)


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
