"""What every version since format 2 wrote is read: see `tests/support/format_fixtures`.

Format 1, whose payloads were elsewhere, has a test of its own.
"""

import asyncio
import json
import shutil
from base64 import b64decode
from pathlib import Path
from typing import Final, cast

import msgspec
import pytest
from google_crc32c import value as crc32c
from tests.support.format_fixtures.writing import NODE, Fixture, payload, task_id
from tests.support.machines import entry
from tests.support.replicas import Group

from raftq.consensus.offline import replay_folder
from raftq.consensus.payloads.store import dump_chunks
from raftq.core.machine import Machine
from raftq.node import restore, verify
from raftq.node.backup_files import load_backup
from raftq.protocol.commands import Command, Extend, ExtendItem, Lease
from raftq.protocol.fields import TaskState
from raftq.protocol.options import TaskFilter
from raftq.protocol.replies import Leased, Settled
from raftq.protocol.versions import (
    BACKUP_FORMATS_READABLE,
    SNAPSHOT_FORMAT_VERSION,
    SNAPSHOT_FORMATS_READABLE,
)
from raftq.storage.backups import encode_backup
from raftq.storage.files import RealFiles
from raftq.storage.inspect import inspect_path

FIXTURES: Final = Path(__file__).parents[2] / "fixtures"
FORMATS: Final = [number for number in SNAPSHOT_FORMATS_READABLE if number > 1]
FILES: Final = RealFiles()
HOUR_MS: Final = 3_600_000


class Old:
    """The fixture of a format, in a folder that may be changed."""

    def __init__(self, number: int, room: Path) -> None:
        folder = FIXTURES / f"format_{number}"
        self.number = number
        self.folder = Path(shutil.copytree(folder / NODE, room / NODE))
        self.backup = folder / "state.backup"
        self.knew = msgspec.json.decode((folder / "expected.json").read_bytes(), type=Fixture)


@pytest.fixture(params=FORMATS)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Old:
    return Old(cast("int", request.param), tmp_path)


def check(machine: Machine, knew: Fixture) -> None:
    """Fail unless the machine knows all that the one knew that was written."""
    machine.check_invariants()
    assert machine.state_hash == knew.state_hash
    assert {name: machine.queue(name).counts for name in machine.queues()} == knew.queues
    for before in knew.tasks:
        status = machine.task(b64decode(cast("str", before["id"])))
        assert status is not None, before
        found = msgspec.to_builtins(msgspec.structs.asdict(status))
        assert {name: found[name] for name in before} == before
        number = int.from_bytes(status.id, "big")
        if status.state in (TaskState.SCHEDULED, TaskState.BLOCKED, TaskState.READY):
            wanted = payload(number)
            assert machine.payloads.payload(status.sequence, status.id, crc32c(wanted)) == wanted


def test_every_format_that_is_readable_has_a_fixture() -> None:
    assert SNAPSHOT_FORMATS_READABLE == BACKUP_FORMATS_READABLE
    for number in SNAPSHOT_FORMATS_READABLE:
        assert (FIXTURES / f"format_{number}" / NODE).is_dir(), (
            "python -m tests.support.format_fixtures"
        )


def test_a_stopped_node_s_folder_is_read(old: Old) -> None:
    state = replay_folder(FILES, old.folder)
    assert (state.index, state.snapshot_index) == (old.knew.index, old.knew.snapshot_index)
    assert 0 < state.snapshot_index < state.index
    check(state.machine, old.knew)


def test_a_backup_is_read(old: Old) -> None:
    meta, machine = load_backup(FILES, old.backup)
    assert (meta.index, meta.state_hash) == (old.knew.index, old.knew.state_hash)
    check(machine, old.knew)


def test_a_backup_is_verified_and_restored(
    old: Old, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    assert verify.main([str(old.backup), "--json"], said.append) == 0
    assert json.loads(said[0])["state_hash"] == old.knew.state_hash
    node = f"{NODE}={tmp_path / 'restored'}"
    arguments = [str(old.backup), "--cluster", f"{NODE}=127.0.0.1:7621", "--node", node]
    assert restore.main(arguments, said.append) == 0, capsys.readouterr().err
    machine = replay_folder(FILES, tmp_path / "restored").machine
    assert machine.state_hash == old.knew.state_hash
    assert {name: machine.queue(name).enqueued for name in machine.queues()} == {
        name: sum(counts.values()) for name, counts in old.knew.queues.items()
    }
    machine.check_invariants()


def test_people_are_shown_the_files(old: Old) -> None:
    reports = inspect_path(old.folder)
    assert not [report for report in reports if report.error]
    assert {"snapshot", "segment", "vote", "identity"} == {report.kind for report in reports}


def test_a_node_goes_on_with_the_leases_and_payloads_of_before(old: Old, tmp_path: Path) -> None:
    leased = [each for each in old.knew.tasks if each["state"] == TaskState.LEASED]
    items = [ExtendItem(cast("int", each["token"]), HOUR_MS) for each in leased]
    ready = [name for name, counts in old.knew.queues.items() if counts[TaskState.READY]]

    async def body() -> None:
        group = Group(tmp_path, 1)
        try:
            await group.start()
            extended = await group.propose(Extend(items))
            assert isinstance(extended, Settled)
            assert {each.state for each in extended.items} == {TaskState.LEASED}
            granted = await group.propose(Lease(ready[:32], 100, HOUR_MS, "w", "r"))
            assert isinstance(granted, Leased) and granted.leases
            for lease in granted.leases:
                assert lease.payload == payload(int.from_bytes(lease.task_id, "big"))
        finally:
            await group.stop()

    asyncio.run(body())


def test_the_fixture_of_the_present_format_has_a_task_in_every_state_and_place() -> None:
    machine = load_backup(FILES, FIXTURES / f"format_{SNAPSHOT_FORMAT_VERSION}/state.backup")[1]
    counts = [machine.queue(name).counts for name in machine.queues()]
    assert all(any(each[state] for each in counts) for state in TaskState)
    reasons = {
        reason.rule
        for status in machine.tasks_page(TaskFilter(), 0, 100).tasks
        if (why := machine.why(status.id)) is not None
        for reason in why.reasons
    }
    assert {"not_before", "parents", "order_key", "limit_key", "paused", "leased"} <= reasons
    assert machine.was_forgotten(task_id(51))
    assert machine.settings().quota.tasks_max and len(machine.settings().limits) == 2
    assert len(machine.schedule_list().schedules) == 2


def test_a_backup_of_the_present_format_is_written_again_bit_for_bit() -> None:
    """Whatever changes what is written makes a new format."""
    path = FIXTURES / f"format_{SNAPSHOT_FORMAT_VERSION}" / "state.backup"
    meta, machine = load_backup(FILES, path)
    assert b"".join(encode_backup(meta, dump_chunks(machine))) == path.read_bytes()


def test_what_is_checked_would_be_seen(tmp_path: Path) -> None:
    old = Old(SNAPSHOT_FORMAT_VERSION, tmp_path)
    machine = replay_folder(FILES, old.folder).machine
    changed: list[Command] = [Lease(["fair"], 1, HOUR_MS, "w", "r")]
    assert machine.apply(entry(*changed)).rejected is None
    with pytest.raises(AssertionError):
        check(machine, old.knew)
