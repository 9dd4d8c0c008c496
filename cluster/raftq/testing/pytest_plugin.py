"""Fixtures for users' tests; pytest finds them by itself where raftq is installed.

`raftq_app` is an App on a cluster in memory, `raftq_cluster` a cluster of real nodes. Whatever they
need is imported when a test asks for them: pytest loads this module in every run.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from datetime import datetime

    from raftq.cli.local_cluster import LocalCluster
    from raftq.worker import App
    from raftq.worker.testing.session import Testing

_OPTION = "raftq_app"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini option."""
    parser.addini(_OPTION, "The App of the fixture raftq_app, as MODULE:NAME.", default="")


@pytest.fixture
def raftq_app_path(request: pytest.FixtureRequest) -> "str | App":
    """Where the App of `raftq_app` is, as `module:name`; override it to return that, or the App."""
    return str(request.config.getini(_OPTION))


@pytest.fixture
def raftq_start() -> "datetime | None":
    """Wall time at the start of each test, with a time zone; None is the real one. Override it."""
    return None


@pytest.fixture
def raftq_app(raftq_app_path: "str | App", raftq_start: "datetime | None") -> Generator["Testing"]:
    """The App on a cluster in memory that the test drives: `run_pending`, `advance`, …"""
    with _app(raftq_app_path).testing(raftq_start) as testing:
        yield testing


def _app(path: "str | App") -> "App":
    from raftq.worker.finding import load_app

    if not isinstance(path, str):
        return path
    if not path:
        raise pytest.UsageError(
            f"the fixture raftq_app does not know your App: set `{_OPTION} = MODULE:NAME` in the "
            "pytest settings, or override the fixture raftq_app_path"
        )
    return load_app(path)


@pytest.fixture(scope="session")
def raftq_cluster() -> Generator["LocalCluster"]:
    """Three real nodes on free ports, for the whole session; `addresses` is for clients."""
    from raftq.testing.real_cluster import real_cluster

    with real_cluster() as cluster:
        yield cluster
