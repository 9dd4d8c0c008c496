"""docs/reference/http-api.md and docs/howto/http.md say what a node really answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.http_examples import check_examples

from raftq.cli.local_cluster import LocalCluster, NodeProcess
from raftq.server.openapi import document
from raftq.server.problems import CODES

DOCS = Path(__file__).parents[3] / "docs"
PAGE = DOCS / "reference" / "http-api.md"
HOWTO = DOCS / "howto" / "http.md"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    with LocalCluster(tmp_path, size=1) as cluster:
        yield cluster.nodes[0]


@pytest.mark.parametrize("page", [PAGE, HOWTO], ids=lambda page: page.name)
def test_every_example_answers_as_the_page_says(node: NodeProcess, page: Path) -> None:
    check_examples(page, node)


def test_every_path_and_every_code_is_on_the_page() -> None:
    text = PAGE.read_text()
    for path, methods in document("x")["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}" in text, path
    table = text.partition("| status | code |")[2]
    for code in CODES:
        assert f"`{code}`" in table, code


def test_every_parameter_and_field_that_is_taken_is_on_the_page() -> None:
    text = PAGE.read_text()
    described = document("x")
    for methods in described["paths"].values():
        for operation in methods.values():
            for parameter in operation["parameters"]:
                assert parameter["name"] in text, parameter["name"]
            content = operation.get("requestBody", {}).get("content", {})
            for each in content.values():
                name = each["schema"]["$ref"].rsplit("/", 1)[-1]
                for field in described["components"]["schemas"][name]["properties"]:
                    assert f"`{field}`" in text or f'"{field}"' in text, (name, field)
