"""What a client shows to nodes, and what it asks of them."""

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from raftq.protocol.errors import InvalidRequest

SYSTEM_CA: Final = "system"
"""As `tls_ca`: trust whom this machine trusts."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A token, and the TLS of the connections; a token is never shown."""

    token: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None

    @property
    def connecting(self) -> dict[str, Any]:
        """Further arguments for asyncio's `create_connection`."""
        return {} if self.tls is None else {"ssl": self.tls}


def credentials(token: str | None, tls_ca: "str | os.PathLike[str] | None") -> Credentials:
    """Return credentials, checked.

    Args:
        token: As `raftq token new` printed it.
        tls_ca: A file with the CA of the nodes' certificates, or `"system"`; turns TLS on.

    Raises:
        InvalidRequest: The token has impossible characters, or the file is no CA.
    """
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        # Not quoted: it is a secret, if not a good one.
        raise InvalidRequest("the token has characters that no token has; is it cut or quoted?")
    return Credentials(token or None, None if tls_ca is None else _tls(tls_ca))


def _tls(tls_ca: "str | os.PathLike[str]") -> ssl.SSLContext:
    try:
        if tls_ca == SYSTEM_CA:
            return ssl.create_default_context()
        return ssl.create_default_context(cafile=Path(tls_ca))
    except OSError as error:
        raise InvalidRequest(f"tls_ca is {str(tls_ca)!r}, which cannot be used: {error}") from None
