"""The generated pages of docs/reference say what the code does."""

import pytest
from tests.tidy.reference import FOLDER, pages

from raftq.cli.commands import build
from raftq.protocol.errors import ERRORS_BY_CODE


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_generated_page_is_up_to_date(name: str) -> None:
    written = (FOLDER / name).read_text()
    assert written == pages()[name], "stale: run `python -m tests.tidy.reference`"


def test_pages_do_not_depend_on_when_and_where_they_are_made() -> None:
    assert pages() == pages()
    assert "/home/" not in str(pages()) and "shell-" not in pages()["cli.md"]


def test_every_error_and_command_is_explained() -> None:
    text = pages()["errors.md"]
    assert all(f"`{code}`" in text for code in ERRORS_BY_CODE)
    commands = [group.name for group in build().registered_groups]
    assert all(f"## raftq {name}" in pages()["cli.md"] for name in commands)
