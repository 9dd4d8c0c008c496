"""`module:name` leads to an App, or to words that say what to do."""

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from raftq.worker import App
from raftq.worker.finding import AppNotFound, load_app

FILES = {
    "oneapp.py": "from raftq.worker import App\napp = App()\nnumber = 7\n",
    "twoapps.py": "from raftq.worker import App\nmail, web = App(), App()\n",
    "noapp.py": "",
    "needs.py": "import no_such_package_at_all\n",
    "wrong.py": "def broken(:\n",
    "raising.py": "def helper():\n    raise RuntimeError('no settings')\n\nhelper()\n",
    "package/__init__.py": "",
    "package/jobs.py": "from raftq.worker import App\napp = App()\n",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    (tmp_path / "package").mkdir()
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in ("oneapp", "twoapps", "noapp", "package", "package.jobs"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "target", ["oneapp:app", "oneapp", "twoapps:web", "package.jobs:app", "package.jobs"]
)
def test_an_app_is_found(target: str) -> None:
    assert isinstance(load_app(target), App)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("", "names no App; write MODULE:NAME, like mail:app"),
        ("one app:app", "names no App; write MODULE:NAME"),
        ("oneapp.py:app", "there is no module 'oneapp.py'"),
        ("onapp:app", r"there is no module 'onapp' .*did you mean 'oneapp'.*PYTHONPATH"),
        ("pakage.jobs:app", r"there is no module 'pakage' .*did you mean 'package'"),
        ("package.jbos:app", r"there is no module 'package.jbos'"),
        ("oneapp:ap", r"has no App 'ap' \(did you mean 'app'\?\); its Apps are app"),
        ("oneapp:number", "number of module oneapp is no App but int; its Apps are app"),
        ("twoapps", "which App of module twoapps\\? its Apps are mail, web"),
        ("noapp:app", "it has none; make one with App"),
    ],
)
def test_a_mistake_is_told_with_what_to_do(target: str, text: str) -> None:
    with pytest.raises(AppNotFound, match=text):
        load_app(target)


@pytest.mark.parametrize(
    ("target", "texts"),
    [
        ("needs:app", ["needs.py", "No module named 'no_such_package_at_all'"]),
        ("wrong:app", ["wrong.py", "SyntaxError"]),
        ("raising:app", ["raising.py", "in helper", "RuntimeError: no settings"]),
    ],
)
def test_a_module_that_fails_is_shown_with_its_own_calls_only(
    target: str, texts: list[str]
) -> None:
    with pytest.raises(AppNotFound) as caught:
        load_app(target)
    message = caught.value.message
    assert all(text in message for text in texts)
    assert "importlib" not in message and "finding.py" not in message
