"""Backups of the running cluster, taken on this node: begun at one log index, read piece by piece.

Owns the one backup that may run, and its child process: killed and reaped whatever ends it. Does
not own how a backup is sent (`http.py`).
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from tornado.iostream import PipeIOStream, StreamClosedError

from raftq.consensus.backup_child import BackupChild, backup_meta
from raftq.consensus.contract import Replica
from raftq.protocol import limits
from raftq.protocol.errors import CorruptRecord, NotReady, RateLimited
from raftq.protocol.fields import Consistency
from raftq.server.service import Service
from raftq.storage.backups import BackupMeta

_log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.01


class BackupFailed(Exception):
    """The backup is incomplete: its process ended early, or it took too long."""


class Backups:
    """Takes backups, one at a time: each may double the memory that this node needs.

    Args:
        replica: This node's replica.
        service: Knows what was acknowledged.
        wall_ms: The wall clock.
        version: Of raftq.
    """

    def __init__(
        self, replica: Replica, service: Service, wall_ms: Callable[[], int], version: str
    ) -> None:
        self._replica = replica
        self._service = service
        self._wall_ms = wall_ms
        self._version = version
        self._running: Backup | None = None

    async def begin(self, consistency: Consistency, deadline: float) -> "Backup":
        """Begin a backup of this node's machine; the caller must `end` it.

        Args:
            consistency: If linearizable, it holds every write that was acknowledged before this
                call; stale asks nobody, and works without a majority.
            deadline: Until when this node may wait to have those writes.

        Raises:
            RateLimited: Another one runs.
            NoLeader, NotReady: This node did not learn or get those writes in time.
        """
        loop = asyncio.get_running_loop()
        if consistency is Consistency.LINEARIZABLE:
            await self._catch_up(deadline)
        if self._running is not None:
            raise RateLimited(
                "a backup of this node is being taken; ask another node, or try again later",
                retry_after_ms=limits.RETRY_AFTER_MS,
            )
        machine, view = self._replica.machine, self._replica.view()
        if machine.cluster_id is None:
            raise NotReady("this node belongs to no cluster yet: there is nothing to back up")
        meta = backup_meta(machine, view, taken_at_ms=self._wall_ms(), raftq_version=self._version)
        child = BackupChild(machine, meta)
        ends_at = loop.time() + limits.BACKUP_TIMEOUT_MS / 1_000
        self._running = Backup(meta, child, ends_at, self._on_end)
        _log.info("backup_started", extra={"index": meta.index, "state_hash": meta.state_hash})
        return self._running

    async def _catch_up(self, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        index = await self._service.acknowledged_index(deadline)
        # Asked again and again, because a snapshot that arrives from the leader tells nobody.
        while (applied := self._replica.view().applied_index) < index:
            if loop.time() >= deadline:
                raise NotReady(f"this node has applied {applied}, and lags behind {index}")
            await asyncio.sleep(_POLL_SECONDS)

    def _on_end(self) -> None:
        self._running = None

    async def stop(self) -> None:
        """End a running backup; its caller sees that it is incomplete."""
        if self._running is not None:
            await self._running.end()


class Backup:
    """One backup that is being taken."""

    def __init__(
        self, meta: BackupMeta, child: BackupChild, ends_at: float, on_end: Callable[[], None]
    ) -> None:
        self.meta: Final = meta
        self._child = child
        self._ends_at = ends_at
        self._on_end = on_end
        self._pipe = PipeIOStream(child.output, max_buffer_size=2 * limits.BACKUP_PIECE_BYTES)
        self._reaping: asyncio.Task[bool] | None = None

    async def read(self) -> bytes:
        """Return the next bytes of the file; nothing at its end.

        Raises:
            BackupFailed: What was read is not the whole file.
        """
        if asyncio.get_running_loop().time() >= self._ends_at:
            raise BackupFailed(f"it took longer than {limits.BACKUP_TIMEOUT_MS} ms")
        try:
            return await self._pipe.read_bytes(limits.BACKUP_PIECE_BYTES, partial=True)
        except StreamClosedError:
            if await self._reaped():
                return b""
        raise BackupFailed("the process that wrote it ended early; stderr may say why")

    def cancel(self) -> None:
        """Give the backup up; `read` fails from now on."""
        self._child.kill()
        self._pipe.close()

    async def end(self) -> None:
        """Return when the child is gone, however far it came."""
        self.cancel()
        await self._reaped()

    async def _reaped(self) -> bool:
        """Return whether the child wrote everything, once it is gone."""
        if self._reaping is None:
            self._reaping = asyncio.ensure_future(self._reap())
        return await asyncio.shield(self._reaping)

    async def _reap(self) -> bool:
        # The child of a large node needs a moment to give its memory back; the loop goes on.
        try:
            while (succeeded := self._child.poll()) is None:
                await asyncio.sleep(_POLL_SECONDS)
        except CorruptRecord as error:
            # A payload that nobody asked for yet. The node stops when somebody does.
            _log.critical("backup_met_damage", exc_info=error)
            succeeded = False
        self._on_end()
        return succeeded
