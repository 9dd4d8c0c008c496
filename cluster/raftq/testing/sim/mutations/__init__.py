"""Every safeguard that can be switched off, by name, and those whose absence cannot show.

A mutation patches production code from the outside for the length of a run: production code knows
nothing of it. Each must be caught by the checks; one that is not tells of a check that cannot fail,
of a scenario that is missing, or of a rule that is not needed.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from raftq.testing.sim.mutations import (
    durability,
    elections,
    membership,
    payloads,
    replication,
    schedules,
    service,
    task_model,
)
from raftq.testing.sim.mutations.mutation import Mutation
from raftq.testing.sim.patching import patched

__all__ = ["MUTATIONS", "UNSEEN", "Mutation", "mutated"]

MUTATIONS: Final[dict[str, Mutation]] = {
    **replication.MUTATIONS,
    **elections.MUTATIONS,
    **durability.MUTATIONS,
    **payloads.MUTATIONS,
    **service.MUTATIONS,
    **schedules.MUTATIONS,
    **task_model.MUTATIONS,
    **membership.MUTATIONS,
}


@contextmanager
def mutated(name: str | None) -> Generator[None]:
    """Switch a safeguard off for the length of a block; none if the name is None."""
    with patched([] if name is None else MUTATIONS[name].patches()):
        yield


UNSEEN: Final[dict[str, str]] = {
    "waiters-promises": "a lease that finds nothing costs a log entry and changes nothing",
    "give-back": "a lease whose caller has gone runs out by itself; giving it back is only sooner",
    "boot-silence": "votes are durable and reads ask a quorum, so a node that votes at once after "
    "its start disturbs, at worst",
    "pickle": "nothing is unpickled; hostile bytes are tried at the peer port's own tests",
    "forwarding-ids": "PySyncObj's forwarding of commands is not used",
    "32-bit-journal": "PySyncObj's journal is not used",
    "code-versions": "PySyncObj's code versions are not used",
}
"""Rules and flaws without a mutation, and why."""
