"""Asking each node itself: only it knows how far it is."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from raftq.client.connection import Connection, open_connection
from raftq.client.credentials import Credentials
from raftq.client.endpoints import Address, parse_addresses
from raftq.protocol.calls import ClusterCall
from raftq.protocol.errors import RaftqError
from raftq.protocol.statuses import ClusterStatus, NodeStatus

_ASK_SECONDS: Final = 0.75


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as it sees itself, or, if it does not answer here, as another one sees it."""

    id: str
    role: str
    is_voter: bool
    applied_index: int | None
    """None: it did not answer."""
    behind: int | None
    """Committed entries that it has not applied."""


class Nodes:
    """Connections to all nodes, each for itself. Close it.

    Args:
        credentials: What nodes ask of this client, and it of them.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._connections: dict[Address, Connection] = {}

    async def ask(self, members: Sequence[NodeStatus]) -> list[ClusterStatus | None]:
        """Return what each member says of itself; None of one that does not answer."""
        return list(await asyncio.gather(*(self._ask(each.native_address) for each in members)))

    async def _ask(self, native_address: str) -> ClusterStatus | None:
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                (address,) = parse_addresses(native_address)
                connection = self._connections.get(address) or await self._open(address)
                timeout_ms = int(_ASK_SECONDS * 1_000)
                return cast(ClusterStatus, await connection.call(ClusterCall(), timeout_ms))
        except (RaftqError, TimeoutError):
            return None

    async def _open(self, address: Address) -> Connection:
        connection, _ = await open_connection(
            address,
            "raftq-top",
            _ASK_SECONDS,
            lambda _method, _params: None,
            lambda: self._on_lost(address),
            self._credentials,
        )
        self._connections[address] = connection
        return connection

    def _on_lost(self, address: Address) -> None:
        self._connections.pop(address, None)

    async def close(self) -> None:
        """Close the connections."""
        for connection in list(self._connections.values()):
            connection.close()
        await asyncio.sleep(0)  # Let the transports tell their connections that they are closed.


def views(
    members: Sequence[NodeStatus], answers: Sequence[ClusterStatus | None]
) -> tuple[list[NodeView], int]:
    """Return how each member is, and the newest index of which any knows that it is committed."""
    told = [each for each in answers if each is not None]
    committed = max((each.commit_index for each in told), default=0)
    return [
        _view(member, answer, committed) for member, answer in zip(members, answers, strict=True)
    ], committed


def _view(member: NodeStatus, answer: ClusterStatus | None, committed: int) -> NodeView:
    if answer is None:
        return NodeView(member.id, member.role, member.is_voter, None, None)
    own = next((each for each in answer.nodes if each.id == answer.node), member)
    behind = committed - answer.applied_index
    return NodeView(member.id, own.role, own.is_voter, answer.applied_index, behind)
