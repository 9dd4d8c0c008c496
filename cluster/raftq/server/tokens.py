"""Who may talk to a node: bearer tokens, of which the node knows only hashes.

A tokens file has one token a line, `name:sha256-of-the-token` in hex, as `raftq token new` prints
it. Empty lines, and lines that begin with `#`, are passed over. A name may stand on several lines,
so that a client's new token can be let in before its old one is taken out.
"""

import hmac
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from raftq.protocol import limits
from raftq.protocol.credentials import token_hash
from raftq.protocol.errors import Forbidden
from raftq.protocol.fields import NAME_PATTERN

_log = logging.getLogger(__name__)

_HASH: Final = re.compile(r"[0-9a-f]{64}\Z")
_FILE_BYTES_MAX: Final = 1 * limits.MIB
MISSING: Final = "this node asks for a token and none was given"
UNKNOWN: Final = "the token is not known on this node"
_ADVICE: Final = "; `raftq token new` makes one, and docs/operating/security.md says where it goes"


class BadTokensFile(ValueError):
    """A tokens file cannot be used; the text names the line, but nothing that stands in it."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One line of the tokens file."""

    name: str
    hash: str


def parse_tokens(text: str) -> tuple[Grant, ...]:
    """Return what a tokens file grants.

    Raises:
        BadTokensFile: A line is malformed.
    """
    grants: list[Grant] = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            grants.append(_parse_line(stripped, number))
    if len(grants) > limits.TOKENS_MAX:
        raise BadTokensFile(f"it has {len(grants)} tokens; at most {limits.TOKENS_MAX} are allowed")
    return tuple(grants)


def _parse_line(line: str, number: int) -> Grant:
    name, *fields = line.split(":")
    if not re.match(NAME_PATTERN, name) or not fields or not _HASH.match(fields[0]):
        # The line is not quoted: it may be a token that somebody pasted in the place of its hash.
        raise BadTokensFile(
            f"line {number} is not name:hash, with the sha256 of a token as 64 lower-case hex "
            "digits, like `raftq token new` prints it"
        )
    if len(fields) > 1:
        raise BadTokensFile(
            f"line {number} has something after the hash; this version of raftq knows no scopes "
            "and refuses to let a token do more than its line may mean"
        )
    return Grant(name, fields[0])


class TokenFile:
    """The tokens of a file, kept up to date.

    Args:
        path: The file.

    Raises:
        BadTokensFile: It cannot be read or is malformed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = _stamp(path)
        self._grants = _read(path)
        self.on_change: list[Callable[[], None]] = []
        """Called after the tokens have changed."""

    def check(self, token: str | None) -> Grant:
        """Return what a token grants.

        Raises:
            Forbidden: There is none, or it is not in the file.
        """
        if not token:
            raise Forbidden(MISSING + _ADVICE)
        found: Grant | None = None
        offered = token_hash(token)
        for grant in self._grants:
            # Every line is compared, so that the time tells nothing about which one fits.
            if hmac.compare_digest(grant.hash, offered):
                found = grant
        if found is None:
            raise Forbidden(UNKNOWN + _ADVICE)
        return found

    def grants(self, grant: Grant) -> bool:
        """Tell whether a grant still stands."""
        return grant in self._grants

    def refresh(self, *, force: bool = False) -> None:
        """Read the file again if it has changed, or in any case.

        A file that is gone or malformed changes nothing but the log: a slip of an editor must not
        lock everybody out.
        """
        stamp = _stamp(self._path)
        if stamp == self._seen and not force:
            return
        self._seen = stamp
        try:
            self._grants = _read(self._path)
        except BadTokensFile as error:
            _log.error("tokens_file_refused", extra={"path": str(self._path), "error": str(error)})
            return
        _log.info("tokens_file_read", extra={"tokens": len(self._grants)})
        for tell in self.on_change:
            tell()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return what differs when a file was written or replaced."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> tuple[Grant, ...]:
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise BadTokensFile(f"{path} cannot be read: {error}") from None
    if len(content) > _FILE_BYTES_MAX:
        raise BadTokensFile(f"{path} is over {_FILE_BYTES_MAX} bytes")
    try:
        return parse_tokens(content.decode())
    except UnicodeDecodeError:
        raise BadTokensFile(f"{path} is not text in UTF-8") from None
    except BadTokensFile as error:
        raise BadTokensFile(f"{path}: {error}") from None
