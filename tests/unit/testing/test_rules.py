"""The list of rules: in the code, in the page about them, and in the tests."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def _rules_in_code() -> set[str]:
    """Return what is passed to `Violation`, or assigned to a variable `rule` for it."""
    found: set[str] = set()
    for path in (ROOT / "cluster/raftq/testing/checks").glob("*.py"):
        text = path.read_text()
        found.update(re.findall(r'Violation\(\s*"([a-z-]+)"', text))
        for line in re.findall(r"^ +rule = (.*)$", text, re.MULTILINE):
            found.update(re.findall(r'"([a-z-]+)"(?: if| else|$)', line))
    return found


def test_every_rule_is_explained() -> None:
    page = (ROOT / "docs/internals/checks.md").read_text()
    rows = re.findall(r"^\| (`[^|]*`) \|", page, re.MULTILINE)
    explained = {name for row in rows for name in re.findall(r"`([a-z-]+)`", row)}
    assert explained == _rules_in_code()


def test_every_rule_is_seen_to_fail() -> None:
    tests = [path.read_text() for path in (ROOT / "tests/unit/testing").glob("test_*_checks.py")]
    tested = {name for text in tests for name in re.findall(r'"([a-z-]+)"', text)}
    assert _rules_in_code() - tested == set()
