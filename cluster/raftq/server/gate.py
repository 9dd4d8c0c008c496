"""The door of both listeners: who is let in, and what is remembered of who is not.

Attempts that fail are counted by listener and reason. Of whom they come is only written to the
log, now and then: no table here grows with what strangers do.
"""

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from raftq.protocol.errors import Forbidden
from raftq.server.tokens import Grant, TokenFile

_log = logging.getLogger(__name__)

_LOG_PAUSE_SECONDS: Final = 10.0
_OPEN_PATHS: Final = frozenset({"/livez", "/readyz"})
_METRICS_PATH: Final = "/metrics"
_SCHEME: Final = "bearer "


@dataclass(frozen=True, slots=True)
class Access:
    """What clients must bring; by default nothing.

    Without `tokens` everybody is let in. `tls` is that of both listeners.
    """

    tokens: TokenFile | None = None
    metrics_open: bool = False
    tls: ssl.SSLContext | None = None


class Gate:
    """Lets clients in.

    Args:
        access: What they must bring.
        count_refusal: Called with listener and reason.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        access: Access,
        count_refusal: Callable[[str, str], None],
        clock: Callable[[], float],
    ) -> None:
        self.tokens: Final = access.tokens
        open_paths = _OPEN_PATHS | {_METRICS_PATH} if access.metrics_open else _OPEN_PATHS
        self._open_paths = open_paths
        self._count_refusal = count_refusal
        self._clock = clock
        self._silent_until = 0.0
        self._not_logged = 0

    def admit(self, token: str | None, listener: str, host: str) -> Grant | None:
        """Return what a client may do; None means everything, because nothing is asked for.

        Raises:
            Forbidden: The token is missing or not known here.
        """
        if self.tokens is None:
            return None
        try:
            return self.tokens.check(token)
        except Forbidden:
            self._note_refusal(listener, "unknown" if token else "missing", host)
            raise

    def admit_request(self, path: str, authorization: str | None, host: str) -> None:
        """Let an HTTP request in; every path but the probes needs a token.

        Args:
            path: As it came, before any routing, so that nothing unforeseen is open.
            authorization: The header of that name.
            host: Whose request it is.

        Raises:
            Forbidden: The token is missing or not known here.
        """
        if path.partition("?")[0] not in self._open_paths:
            self.admit(_bearer(authorization), "http", host)

    def granted(self, authorization: str | None) -> Grant | None:
        """Return what an HTTP request that was let in was granted, for `stands`.

        Raises:
            Forbidden: Its token does not count any more.
        """
        return None if self.tokens is None else self.tokens.check(_bearer(authorization))

    def stands(self, grant: Grant | None) -> bool:
        """Tell whether what a client was let in by is still granted."""
        return self.tokens is None or (grant is not None and self.tokens.grants(grant))

    def _note_refusal(self, listener: str, reason: str, host: str) -> None:
        self._count_refusal(listener, reason)
        now = self._clock()
        if now < self._silent_until:
            self._not_logged += 1
            return
        facts = {"listener": listener, "reason": f"token {reason}", "client": host}
        _log.warning("client_refused", extra={**facts, "more_since_last": self._not_logged})
        self._silent_until, self._not_logged = now + _LOG_PAUSE_SECONDS, 0


def _bearer(authorization: str | None) -> str | None:
    """Return the token of a header; another scheme counts as none."""
    if authorization is None or authorization[: len(_SCHEME)].lower() != _SCHEME:
        return None
    return authorization[len(_SCHEME) :].strip() or None
