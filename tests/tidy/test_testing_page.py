"""What the page about testing shows is what a user's tests can do: its files are run by pytest."""

import re
from pathlib import Path

from tests.support.plugin import start_pytest

PAGE = Path(__file__).parents[2] / "docs/howto/testing.md"
_BLOCK = re.compile(r"^```(?:python|ini)\n# (\S+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
TESTS = 8


def test_the_files_of_the_page_are_a_program_with_tests_that_pass(tmp_path: Path) -> None:
    text = PAGE.read_text()
    files: dict[str, str] = dict(_BLOCK.findall(text))
    assert len(files) == len(re.findall("^```[a-z]", text, re.MULTILINE)), (
        "a block has no file name"
    )
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    running = start_pytest(tmp_path, "-W", "error", "-q")
    said, _ = running.communicate(timeout=90)
    assert running.returncode == 0, said
    assert f"{TESTS} passed" in said


def test_every_call_of_the_table_exists() -> None:
    from raftq.testing import Testing

    called = re.findall(r"^\| `(\w+)", PAGE.read_text(), re.MULTILINE)
    assert len(called) >= 8
    assert [name for name in called if not hasattr(Testing, name)] == []
