"""`GET /v1/backup`: a backup file, sent while it is being made and only as fast as it is taken."""

import asyncio
import logging

from tornado.iostream import StreamClosedError
from tornado.web import Finish

from raftq.protocol.errors import InternalError
from raftq.server.backups import Backup, BackupFailed
from raftq.server.http_handler import Handler

_log = logging.getLogger(__name__)


class BackupHandler(Handler):
    """GET /v1/backup."""

    op = "backup"
    parameters = frozenset({"consistency", "timeout_ms"})
    _backup: Backup | None = None

    def on_connection_close(self) -> None:
        """The client is gone, and its backup with it."""
        super().on_connection_close()
        if self._backup is not None:
            self._backup.cancel()

    async def get(self) -> None:
        """Send a backup file while it is being made."""
        consistency = self.query_consistency()
        deadline = asyncio.get_running_loop().time() + self.query_timeout_ms() / 1_000
        backup = self._backup = await self.context.backups.begin(consistency, deadline)
        try:
            await self._send(backup)
        except (BackupFailed, StreamClosedError) as error:
            # Without the last chunk of the answer, so that nobody takes it for the whole.
            self.close_connection()
            code = "client_gone" if self.is_client_gone else InternalError.code
            _log.warning("backup_failed", extra={"reason": str(error), "code": code})
            self.count(code)
            raise Finish from None
        finally:
            await backup.end()

    async def _send(self, backup: Backup) -> None:
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Raftq-Applied-Index", str(backup.meta.index))
        self.set_header("Raftq-State-Hash", backup.meta.state_hash)
        while piece := await backup.read():
            self.write(piece)  # pyright: ignore[reportUnknownMemberType]  # Tornado's dict is bare
            sent = self.flush()
            # Not a timeout, which would cancel the future: Tornado reports that as an error.
            await asyncio.wait({sent}, timeout=self.context.answer_seconds)
            if not sent.done():
                raise BackupFailed("the client does not take it")
            sent.result()
        self.count("ok")
        self.end(b"")
