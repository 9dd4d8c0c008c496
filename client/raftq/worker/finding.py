"""Find the App that `module:name` means, and say what to do when there is none."""

import importlib
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

from raftq.client.keywords.naming import did_you_mean
from raftq.protocol.errors import InvalidRequest
from raftq.worker.app import App


class AppNotFound(InvalidRequest):
    """There is no App where it was looked for."""


def load_app(target: str) -> App:
    """Import and return an App.

    Args:
        target: `module:name` as in `mail:app`, or `module` if it has one App. Modules of the
            current folder are found before others.

    Raises:
        AppNotFound: There is none, or its module cannot be imported; the text says what to do.
    """
    module_name, _, name = target.partition(":")
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise AppNotFound(
            f"{target!r} names no App; write MODULE:NAME, like mail:app for `app` in mail.py"
        )
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = _import(module_name)
    apps = {key: value for key, value in vars(module).items() if isinstance(value, App)}
    if not name and len(apps) == 1:
        return next(iter(apps.values()))
    found = apps.get(name)
    if found is None:
        raise AppNotFound(_no_app(module, name, apps))
    return found


def _no_app(module: ModuleType, name: str, apps: Iterable[str]) -> str:
    names = sorted(apps)
    there = f"its Apps are {', '.join(names)}" if names else "it has none; make one with App(…)"
    if not name:
        return f"which App of module {module.__name__}? {there}; write MODULE:NAME"
    if hasattr(module, name):
        kind = type(getattr(module, name)).__name__
        return f"{name} of module {module.__name__} is no App but {kind}; {there}"
    return f"module {module.__name__} has no App {name!r}{did_you_mean(name, names)}; {there}"


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise AppNotFound(_broken(name, error)) from None
        raise AppNotFound(
            f"there is no module {error.name!r} in {Path.cwd()} or among the installed ones"
            f"{did_you_mean(error.name, _modules_here())}; run this where it is, or set PYTHONPATH"
        ) from None
    except Exception as error:
        raise AppNotFound(_broken(name, error)) from None


def _broken(name: str, error: Exception) -> str:
    """Return what an import failed with; the importing itself is left out of the calls."""
    calls = error.__traceback__
    ours = (__file__, importlib.__file__)
    while calls is not None and _is_importing(calls.tb_frame.f_code.co_filename, ours):
        calls = calls.tb_next
    text = "".join(traceback.format_exception(error.with_traceback(calls)))
    return f"module {name!r} cannot be imported:\n{text.rstrip()}"


def _is_importing(path: str, ours: Sequence[str]) -> bool:
    return path in ours or path.startswith("<frozen importlib")


def _modules_here() -> list[str]:
    found = [path.stem for path in Path.cwd().glob("*.py")]
    return found + [path.parent.name for path in Path.cwd().glob("*/__init__.py")]
