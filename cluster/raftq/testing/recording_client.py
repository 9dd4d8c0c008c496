"""The real client, with every call recorded.

The seam is the one method that all calls of `AsyncClient` go through, so retries inside the
client are part of one operation, as they are for the program that uses it.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

from raftq.client.async_client import AsyncClient
from raftq.client.durations import Duration
from raftq.protocol.calls import Call
from raftq.protocol.replies import Reply
from raftq.testing.history import History

R = TypeVar("R", bound=Reply)


class RecordingClient(AsyncClient):
    """An `AsyncClient` that writes a history; `name` is the operations' client."""

    def __init__(
        self,
        history: History,
        addresses: str | Sequence[str],
        *,
        timeout: Duration = 10.0,
        name: str,
        token: str | None = None,
        tls_ca: str | None = None,
        random: Random | None = None,
        wall_ms: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(
            addresses,
            timeout=timeout,
            name=name,
            token=token,
            tls_ca=tls_ca,
            random=random,
            wall_ms=wall_ms,
        )
        self._history = history
        self._recorded_as = name

    async def _call(self, call: Call, kind: type[R], timeout: Duration | None) -> R:
        operation = self._history.invoke(self._recorded_as, call)
        try:
            reply = await super()._call(call, kind, timeout)
        except BaseException as error:
            self._history.fail(operation, error)
            raise
        self._history.ok(operation, reply)
        return reply
