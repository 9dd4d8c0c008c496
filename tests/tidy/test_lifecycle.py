"""The page about the life of a task says what the table of moves says."""

import pytest
from tests.tidy.lifecycle import PAGE, generated, renewed

from raftq.core.task import DONE, TRANSITIONS, Blocked
from raftq.protocol.fields import TaskState


def test_the_diagram_and_the_table_are_up_to_date() -> None:
    page = PAGE.read_text()
    assert page == renewed(page), "stale: run `python -m tests.tidy.lifecycle`"


def test_every_state_and_every_gate_is_explained() -> None:
    words = PAGE.read_text().replace(generated(), "")
    assert not [each for each in TaskState if f"`{each}`" not in words]
    assert not [each for each in Blocked if f"`{each}`" not in words]


def test_every_move_is_in_the_diagram_and_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    text = generated()
    for before, moves in TRANSITIONS.items():
        for after, why in moves.items():
            assert f" | `{after}` | {why} |" in text
            assert before == after or f"    {before or '[*]'} --> {after}\n" in text
    monkeypatch.setitem(TRANSITIONS, DONE, {TaskState.READY: "never"})
    assert generated() != text
