"""Mutations of the rules about tasks with options, and of events."""

from collections.abc import Awaitable, Callable
from typing import Final, cast

from msgspec.structs import replace

from raftq.client.events import Follower
from raftq.core.gates import Gates
from raftq.core.limit_keys import LimitKeys
from raftq.core.order_keys import OrderKeys
from raftq.core.task import Blocked
from raftq.protocol.events import Subscribe
from raftq.testing.sim.mutations.mutation import Inside, Mutation
from raftq.testing.sim.patching import Patch, original


def _order_key() -> list[Patch]:
    enter = cast("Callable[[OrderKeys, str, int], bool]", original(OrderKeys, "enter"))

    def always(self: OrderKeys, key: str, sequence: int) -> bool:
        enter(self, key, sequence)
        return True

    return [(OrderKeys, "enter", always)]


def _limit_key() -> list[Patch]:
    def admits(self: LimitKeys, key: str, now_ms: int) -> bool:
        return True

    return [(LimitKeys, "admits", admits)]


def _without_gate(ignored: Blocked) -> list[Patch]:
    held_by = cast("Callable[[Inside, Inside], Blocked | None]", original(Gates, "_held_by"))

    def held_by_another(self: Inside, task: Inside) -> Blocked | None:
        blocked = held_by(self, task)
        return None if blocked is ignored else blocked

    return [(Gates, "_held_by", held_by_another)]


def _event_resume() -> list[Patch]:
    link = cast("Callable[..., Awaitable[object]]", original(Follower, "link"))

    async def link_from_now(
        self: Follower, address: Inside, timeout: float, asked: Subscribe
    ) -> object:
        return await link(
            self, address, timeout, replace(asked, after_index=None, after_number=None)
        )

    return [(Follower, "link", link_from_now)]


MUTATIONS: Final[dict[str, Mutation]] = {
    "order-key": Mutation("tasks of an order key run together", _order_key, ("task-model",)),
    "limit-key": Mutation("limit keys admit every task", _limit_key, ("task-model",)),
    "parents-gate": Mutation(
        "a join waits for none of its parents",
        lambda: _without_gate(Blocked.PARENTS),
        ("task-model",),
    ),
    "confirm-gate": Mutation(
        "a prepared task runs before it is confirmed",
        lambda: _without_gate(Blocked.UNCONFIRMED),
        ("task-model",),
    ),
    "event-resume": Mutation(
        "a subscriber whose node is gone goes on with what comes next at another",
        _event_resume,
        ("events",),
    ),
}
