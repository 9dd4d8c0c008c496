"""The queue machine against a slow, obvious model: any commands, times, damage and snapshots."""

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,  # pyright: ignore[reportUnknownVariableType]
)
from msgspec.structs import astuple
from tests.support import command_strategies as some
from tests.support.comparison import TIGHT, Pair, lay_out, restore_layout
from tests.support.examples import examples
from tests.support.machines import entry, task_id

from raftq.core.machine import Machine
from raftq.protocol import limits
from raftq.protocol.commands import Command, Lease


def entries_of(theme: str) -> st.SearchStrategy[list[Command]]:
    """Return entries whose tasks have to do with each other."""
    commands = some.commands_about(some.tasks_with(some.THEMES[theme]))
    return st.lists(commands, min_size=2, max_size=6)


THEMES = {theme: entries_of(theme) for theme in some.THEMES}
plain_entries = st.lists(
    st.one_of(some.plain_commands, some.plain_commands, some.founding), max_size=5
)
lease_steps = st.sampled_from([0, 0, 0, 1, 99, 1_000, 2_400])
wall_steps = st.sampled_from(
    [0, 0, 0, 1, 400, 2_000, -1_000, 10_000, limits.RESULT_RETENTION_MS, "due", "due", "too early"]
)


def loaded(machine: Machine, which: int) -> Machine:
    """Return a machine made from the dump of one; its own dump is the same."""
    lay_out(which)
    dumped = list(machine.dump())
    copy = Machine.load(dumped)
    differ = [pair for pair in zip(dumped, copy.dump(), strict=True) if pair[0] != pair[1]]
    assert not differ, [[msgspec.msgpack.decode(each) for each in pair] for pair in differ]
    return copy


set_first = some.weighted(some.key_limits, some.key_limits, some.queue_settings, some.settings)


class Comparison(RuleBasedStateMachine):
    """Two replicas and the model get the same entries."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()
        self.theme = "everything"

    @initialize(theme=st.sampled_from(list(THEMES)), drawn=st.lists(set_first, max_size=5))
    def set_up(self, theme: str, drawn: list[Command]) -> None:
        """Choose what the run is about, and begin with queues and keys that somebody has set."""
        self.theme = theme
        self.pair.apply(drawn, 0, 0)

    @rule(data=st.data(), lease_ms=lease_steps, wall_ms=wall_steps)
    def commands(self, data: st.DataObject, lease_ms: int, wall_ms: int | str) -> None:
        """Apply an entry of several commands."""
        self.apply(data.draw(THEMES[self.theme]), lease_ms, wall_ms)

    def apply(self, drawn: list[Command], lease_ms: int, wall_ms: int | str) -> None:
        """Apply an entry of commands with placeholders."""
        pair = self.pair
        if isinstance(wall_ms, str):  # Just when something falls due, or a millisecond before.
            due_at_ms = pair.model.next_wall_due_at_ms() or 0
            wall_ms = max(0, due_at_ms - pair.wall_at_ms - (wall_ms == "too early"))
        scene = pair.scene()
        pair.apply([scene.command(each) for each in drawn], lease_ms, wall_ms)

    @rule(data=st.data(), lease_ms=lease_steps)
    def more_commands(self, data: st.DataObject, lease_ms: int) -> None:
        """Apply more of them: what is interesting needs many."""
        self.apply(data.draw(THEMES[self.theme]), lease_ms, 0)

    @rule(
        drawn=st.lists(
            st.one_of(some.plain_commands, some.plain_commands, some.founding), max_size=5
        ),
        lease_ms=lease_steps,
    )
    def plain_commands(self, drawn: list[Command], lease_ms: int) -> None:
        """Apply an entry of commands about tasks without options."""
        self.apply(drawn, lease_ms, 0)

    @rule(
        command=some.commands,
        position=st.integers(0, 10_000),
        damage=st.integers(1, 255),
        cut=st.booleans(),
    )
    def damaged_entry(self, command: Command, position: int, damage: int, cut: bool) -> None:
        """Damage an entry; if it is refused, nothing changes."""
        whole = bytearray(entry(command, wall_at_ms=self.pair.wall_at_ms))
        position %= len(whole)
        if cut:
            del whole[position:]
        else:
            whole[position] ^= damage
        try:
            decoded = msgspec.msgpack.decode(bytes(whole), type=list[msgspec.Raw])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            decoded = None
        replicas = self.pair.replicas
        before = [(each.state_hash, each.content_hash()) for each in replicas]
        trial = [loaded(each, which) for which, each in enumerate(replicas)]
        first, second = (each.apply(bytes(whole)) for each in trial)
        assert astuple(first) == astuple(second) and first.errors == 0, first
        if first.rejected is None:  # The damage made another valid entry: leave it at that.
            assert decoded is not None
            return
        assert first.replies == []
        assert [(each.state_hash, each.content_hash()) for each in trial] == before

    @rule(which=st.integers(0, 1))
    def snapshot(self, which: int) -> None:
        """Replace one replica by what its snapshot holds."""
        old = self.pair.replicas[which]
        self.pair.replicas[which] = loaded(old, which)

    @invariant()
    def replicas_are_equal(self) -> None:
        first, second = self.pair.replicas
        first.check_invariants()
        second.check_invariants()
        assert first.state_hash == second.state_hash
        assert first.content_hash() == second.content_hash()

    @invariant()
    def readers_see_what_the_model_says(self) -> None:
        machine, model = self.pair.replicas[0], self.pair.model
        for number in range(1, some.NUMBERS + 1):
            task = model.find(task_id(number))
            expected = None if task is None else model.status(task)
            found = machine.task(task_id(number))
            assert found == expected, f"task: the machine {found}, the model {expected}"
            was_forgotten = machine.was_forgotten(task_id(number))
            assert was_forgotten == (task_id(number) in model.world.forgotten_ids)
        assert machine.queues() == [each.name for each in model.world.queues]
        for queue in (*some.QUEUES, "check"):
            assert self.pair.queue_seen(queue) == model.queue_status(queue)
            assert machine.ready_count(queue) == model.ready_count(queue)
        assert machine.settings() == model.settings()
        assert machine.schedule_list() == model.schedule_list()

    @invariant()
    def what_is_due_next_is_known(self) -> None:
        machine, model = self.pair.replicas[0], self.pair.model
        assert machine.next_lease_deadline_ms() == model.next_lease_deadline_ms()
        due_at_ms = model.next_wall_due_at_ms()
        armed_at_ms = machine.next_wall_due_at_ms()
        assert due_at_ms is None or (armed_at_ms is not None and armed_at_ms <= due_at_ms)

    def teardown(self) -> None:
        """Drain: every task that is left goes out in the order that the model says."""
        for turn in range(4 * self.pair.agrees):
            self.pair.apply([Lease(["a", "b"], 4, 1_000, "end", f"end-{turn}")], 0, 0)


# Long entries are what finds things; a found example is made small before it is shown.
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.timeout(900)  # Making a found example small takes minutes.
def test_the_machine_does_what_the_model_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TIGHT.items():
        monkeypatch.setattr(limits, name, value)
    restore_layout(monkeypatch)
    run_state_machine_as_test(
        Comparison,
        settings=settings(max_examples=examples(200), stateful_step_count=40, deadline=None),
    )
