"""What the environment says about the cluster, for the command line and for Apps.

Credentials are never among a command's arguments: those stand in shell histories, and every user
of the machine can read them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from raftq.protocol.errors import InvalidRequest

DEFAULT_ADDRESSES: Final = "127.0.0.1:7601,127.0.0.1:7602,127.0.0.1:7603"
"""Where `raftq dev` starts its nodes."""
TOKEN_VARIABLE: Final = "RAFTQ_TOKEN"
TOKEN_FILE_VARIABLE: Final = "RAFTQ_TOKEN_FILE"
TLS_CA_VARIABLE: Final = "RAFTQ_TLS_CA"
_TOKEN_CHARACTERS_MAX: Final = 4_096


def client_credentials(environment: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return (token, tls_ca) for a client; a token in the environment goes before one in a file.

    Raises:
        InvalidRequest: The token's file cannot be read.
    """
    token = environment.get(TOKEN_VARIABLE, "").strip()
    path = environment.get(TOKEN_FILE_VARIABLE, "")
    if not token and path:
        token = _read(Path(path))
    return token or None, environment.get(TLS_CA_VARIABLE) or None


def _read(path: Path) -> str:
    try:
        with path.open() as file:
            return file.read(_TOKEN_CHARACTERS_MAX).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error if isinstance(error, OSError) else "it is not text"
        raise InvalidRequest(
            f"{TOKEN_FILE_VARIABLE} is {str(path)!r}, which cannot be read: {reason}"
        ) from None
