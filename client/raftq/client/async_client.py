"""The asyncio client: its connections and its parts, which are in `raftq.client.parts`.

How a call finds a node that serves it is in `raftq.client.calling`.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from random import Random, SystemRandom
from types import TracebackType
from typing import Self

from raftq.client.calling import Calling, Calls
from raftq.client.credentials import credentials
from raftq.client.durations import Duration
from raftq.client.endpoints import Endpoints, parse_addresses
from raftq.client.events import Follower
from raftq.client.parts.configuring import Configuring
from raftq.client.parts.controlling import Controlling
from raftq.client.parts.following import Following
from raftq.client.parts.producing import Producing
from raftq.client.parts.working import Working
from raftq.protocol.calls import AddMember, RemoveMember, TransferLeadership
from raftq.protocol.statuses import ClusterStatus


class AsyncClient(Producing, Working, Controlling, Configuring, Following):
    """A client of one cluster. Connects when first used; use it in `async with`, or close it.

    Args:
        addresses: `"raftq://host:port,host:port"`, or a list of `host:port`; any nodes will do.
        timeout: How long a call may take, unless the call says otherwise. A lease call may wait
            for tasks on top of it.
        name: Who this is, for the nodes' logs.
        token: Lets this client in where nodes ask for one; `raftq token new` makes it.
        tls_ca: A file with the CA that signed the nodes' certificates, or `"system"` for those
            that this machine trusts. With it the connections are encrypted, and the nodes must
            prove the host names in their addresses; without it they are plain.
        random: Chooses among nodes, jitters pauses and makes ids.
        wall_ms: Wall clock of new ids, milliseconds since 1970.
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        *,
        timeout: Duration = 10.0,
        name: str = "python",
        token: str | None = None,
        tls_ca: str | os.PathLike[str] | None = None,
        random: Random | None = None,
        wall_ms: Callable[[], int] | None = None,
    ) -> None:
        chance = random or SystemRandom()
        seeds, secrets = parse_addresses(addresses), credentials(token, tls_ca)
        endpoints = Endpoints(seeds, chance, _loop_time)
        calling = Calling(endpoints, name, chance, secrets)
        self._begin(calling, timeout, chance, wall_ms or now_ms)
        self._follower = Follower(seeds, chance, _loop_time, name, secrets)

    @classmethod
    def over(
        cls,
        calls: Calls,
        *,
        random: Random,
        wall_ms: Callable[[], int],
        timeout: Duration = 10.0,
        follower: Follower | None = None,
    ) -> Self:
        """Return a client whose calls are executed by something else than a cluster's nodes.

        For tests: `raftq.testing` has a broker in memory that takes the place of a cluster.
        """
        client = cls.__new__(cls)
        client._begin(calls, timeout, random, wall_ms)
        client._follower = follower
        return client

    def _begin(
        self, calls: Calls, timeout: Duration, random: Random, wall_ms: Callable[[], int]
    ) -> None:
        super()._begin(calls, timeout, random, wall_ms)
        self._begin_working(calls)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; calls that are open end with an error. Harmless when repeated."""
        if self._follower is not None:
            self._follower.close()
        await self._giving_back.finish()
        await self._calling.close()

    # ------------------------------------------------------------ members

    async def add_member(
        self, node: str, peer_address: str, *, timeout: Duration | None = None
    ) -> ClusterStatus:
        """Add a node to the cluster and return how it is then.

        The node gets the log as a learner, and becomes a voter when it has caught up. Of a member,
        the address is replaced. Repeating the call changes nothing.

        Args:
            node: Its id.
            peer_address: Where the other nodes reach it, as `host:port`.
            timeout: For this call; the client's own if None.

        Raises:
            Conflict: There is no room, or the address is another member's.
        """
        return await self._call(AddMember(node, peer_address), ClusterStatus, timeout)

    async def remove_member(self, node: str, *, timeout: Duration | None = None) -> ClusterStatus:
        """Remove a member from the cluster and return how it is then; its process stops.

        Raises:
            Conflict: Too few voters would be left, or within reach of the leader.
        """
        return await self._call(RemoveMember(node), ClusterStatus, timeout)

    async def transfer_leadership(
        self, to: str | None = None, *, timeout: Duration | None = None
    ) -> ClusterStatus:
        """Hand leadership to a voter, or to the one that is furthest along.

        Raises:
            Conflict: `to` is no voter.
            NotReady: It cannot take over now.
        """
        return await self._call(TransferLeadership(to), ClusterStatus, timeout)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def now_ms() -> int:
    """Return the wall clock, milliseconds since 1970."""
    return time.time_ns() // 1_000_000
