"""What nobody may do to a folder while it is recovered from."""

import shutil
import sys
from pathlib import Path

import pytest

from raftq.node import recover
from raftq.node.backup_files import load_backup
from raftq.protocol.errors import DataDirLocked
from raftq.storage.data_dir import locked_folder
from raftq.storage.files import RealFiles

FIXTURE = Path(__file__).parents[2] / "fixtures" / "format_1" / "n1"


def test_no_node_may_start_before_the_backup_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(FIXTURE, tmp_path / "n1"))
    file = tmp_path / "backup"
    asked: list[bool] = []

    class Answer:
        def readline(self) -> str:
            with pytest.raises(DataDirLocked), locked_folder(folder):
                pass
            asked.append(True)
            return "n1\n"

    monkeypatch.setattr(sys, "stdin", Answer())
    assert recover.main([str(folder), str(file)], output=lambda _: None) == 0
    assert asked and load_backup(RealFiles(), file)[1].live_tasks > 0
    with locked_folder(folder):
        pass
