"""The node's own secrets: read at start, checked, read again when they are renewed.

What is wrong at start ends the node with the name of the setting. What is wrong later is logged,
and the node goes on with what it has. No secret leaves this file.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from raftq.node.certificates import Certificates, load_certificates
from raftq.node.config import ConfigError
from raftq.node.settings import NodeConfig
from raftq.protocol import limits
from raftq.server.tokens import BadTokensFile, TokenFile

_log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 2.0
"""How soon a changed tokens file counts."""
_EXPIRY_LOOK_SECONDS: Final = 12 * 3_600.0
"""How often a certificate that is about to expire is spoken of."""
_WARNING_SECONDS: Final = limits.CERTIFICATE_WARNING_MS / 1_000


def load_tokens(config: NodeConfig) -> TokenFile | None:
    """Read the tokens file, if there is one.

    Raises:
        ConfigError: It is malformed.
    """
    if config.tokens_file is None:
        return None
    try:
        return TokenFile(config.tokens_file)
    except BadTokensFile as error:
        raise ConfigError(f"tokens_file: {error}") from None


class Keeper:
    """Keeps the secrets of a running node up to date.

    Args:
        config: The node's settings.
        look_seconds: How often the tokens file is looked at.

    Raises:
        ConfigError: A file is unusable; the text names its setting.
    """

    def __init__(self, config: NodeConfig, look_seconds: float = _LOOK_SECONDS) -> None:
        self._config = config
        self._look_seconds = look_seconds
        self.certificates = load_certificates(config)
        self.tokens: Final = load_tokens(config)
        self._renew: Callable[[Certificates], None] = lambda _: None
        self._watching: asyncio.Task[None] | None = None

    def start(self, renew: Callable[[Certificates], None]) -> None:
        """Watch the tokens file and the expiry of the certificates.

        Args:
            renew: Called with new certificates.
        """
        self._renew = renew
        self._watching = asyncio.create_task(self._watch(), name="watch credentials")

    async def stop(self) -> None:
        """Stop watching."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    def expiry_seconds(self, which: str) -> float:
        """Return the rest of a certificate's life; negative when it is over."""
        return self.certificates.expire_at[which] - time.time()

    def reload(self) -> None:
        """Read everything again, on SIGHUP."""
        if self.tokens is not None:
            self.tokens.refresh(force=True)
        try:
            found = load_certificates(self._config)
        except ConfigError as error:
            _log.error("certificates_refused", extra={"error": str(error)})
            return
        self.certificates = found
        self._renew(found)
        _log.info("certificates_read", extra={"in_use": ", ".join(found.expire_at) or "none"})
        self._warn_of_expiry()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        warn_at = loop.time()
        while True:
            if loop.time() >= warn_at:
                warn_at = loop.time() + _EXPIRY_LOOK_SECONDS
                self._warn_of_expiry()
            await asyncio.sleep(self._look_seconds)
            try:
                if self.tokens is not None:
                    self.tokens.refresh()
            except Exception:
                _log.exception("credentials_watch_failed")

    def _warn_of_expiry(self) -> None:
        for which in self.certificates.expire_at:
            left = self.expiry_seconds(which)
            if left < _WARNING_SECONDS:
                facts = {"certificate": which, "days_left": round(left / 86_400, 1)}
                _log.warning("certificate_expires_soon", extra=facts)
