"""Pages that show parts of docs/examples/mailing show what is there, which tests run."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "docs" / "examples" / "mailing"
PROGRAMS = "\n".join(path.read_text() for path in sorted(EXAMPLES.rglob("*.py")))
CELLS = "\n".join(
    "".join(cell["source"])
    for cell in json.loads((EXAMPLES / "notebook.ipynb").read_text())["cells"]
    if cell["cell_type"] == "code"
)


@pytest.mark.parametrize(("page", "count"), [("web-frameworks", 8), ("scripts-and-notebooks", 2)])
def test_each_program_of_a_page_is_an_excerpt_of_the_examples(page: str, count: int) -> None:
    text = (ROOT / "docs" / "howto" / f"{page}.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    assert len(blocks) == count
    for block in blocks:
        assert block.strip() in PROGRAMS or block.strip() in CELLS, block


@pytest.mark.parametrize("page", ["web-frameworks", "scripts-and-notebooks"])
def test_each_file_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / "docs" / "howto" / f"{page}.md").read_text()
    named = re.findall(r"`((?:mailsite/)?\w+\.py)`", text)
    assert [name for name in named if not (EXAMPLES / name).exists()] == []
