"""A pytest plugin that runs tests while a safeguard is switched off, to see them fail."""

import os
from collections.abc import Generator

import pytest

from raftq.testing.sim.mutations import mutated

NAME_VARIABLE = "RAFTQ_MUTATION"
"""The environment variable that names the mutation."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """Run a test under the mutation."""
    with mutated(os.environ[NAME_VARIABLE]):
        return (yield)
