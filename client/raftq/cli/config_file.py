"""The configuration file of `raftq`: where the cluster is, and what it is shown.

`raftq.toml` in the current folder, else `raftq/config.toml` in the user's folder of settings; the
first one that exists counts, alone. Options go before the environment, and that before the file.
Only the command line reads it: a program with an App in it is told by its code or its environment,
wherever it is started.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from raftq.client.credentials import SYSTEM_CA
from raftq.client.endpoints import parse_addresses
from raftq.client.environment import (
    DEFAULT_ADDRESSES,
    TLS_CA_VARIABLE,
    TOKEN_FILE_VARIABLE,
    TOKEN_VARIABLE,
    client_credentials,
)
from raftq.client.keywords.naming import did_you_mean
from raftq.protocol.errors import InvalidRequest

ADDRESSES_VARIABLE: Final = "RAFTQ_ADDRESSES"
KEYS: Final = {
    "addresses": 'Any nodes: `"host:port,host:port"`, or a list of `"host:port"`.',
    "token_file": "A file with the token that `raftq token new` printed.",
    "tls_ca": 'A file with the CA that signed the nodes\' certificates, or `"system"`; turns TLS '
    "on.",
}
"""Every key, and what it means."""
_NAME: Final = "raftq.toml"
_FILE_BYTES_MAX: Final = 65_536
_SECRETS: Final = ("token", "password", "secret")


@dataclass(frozen=True, slots=True)
class Setting:
    """A value, and who said so."""

    value: str | None
    origin: str


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How a cluster is reached. The token itself is read, and never shown."""

    addresses: Setting
    token_file: Setting
    tls_ca: Setting

    def credentials(self, environment: Mapping[str, str]) -> tuple[str | None, str | None]:
        """Return (token, tls_ca) for a client.

        Raises:
            InvalidRequest: The token's file cannot be read.
        """
        if self.token_file.origin in (TOKEN_VARIABLE, TOKEN_FILE_VARIABLE):
            return client_credentials(environment)[0], self.tls_ca.value
        if self.token_file.value is None:
            return None, self.tls_ca.value
        try:
            token, _ = client_credentials({TOKEN_FILE_VARIABLE: self.token_file.value})
        except InvalidRequest as error:
            reason = error.message.removeprefix(f"{TOKEN_FILE_VARIABLE} is ")
            raise InvalidRequest(f"{self.token_file.origin}: token_file is {reason}") from None
        return token, self.tls_ca.value


def client_settings(option: str, environment: Mapping[str, str]) -> ClientSettings:
    """Return what counts, and where it comes from.

    A token and a CA belong to a cluster. Those of a file that names addresses count for these
    addresses only: a command that is sent elsewhere does not take the token along.

    Args:
        option: What `--address` says; empty if nothing.
        environment: Of the process.

    Raises:
        InvalidRequest: The file is not as it must be; the text names file, line and key.
    """
    path = find(environment)
    told = {} if path is None else read(path)
    where = str(path)
    given = option or environment.get(ADDRESSES_VARIABLE, "")
    if given:
        origin = ADDRESSES_VARIABLE if given == environment.get(ADDRESSES_VARIABLE) else "--address"
        addresses = Setting(given, origin)
        told = {} if "addresses" in told else told
    elif "addresses" in told:
        addresses = Setting(told["addresses"], where)
    else:
        addresses = Setting(DEFAULT_ADDRESSES, "default")
    return ClientSettings(
        addresses,
        _token_file(told, where, environment),
        _chosen(told.get("tls_ca"), where, environment, TLS_CA_VARIABLE),
    )


def _token_file(told: Mapping[str, str], where: str, environment: Mapping[str, str]) -> Setting:
    if environment.get(TOKEN_VARIABLE, "").strip():
        return Setting(None, TOKEN_VARIABLE)
    return _chosen(told.get("token_file"), where, environment, TOKEN_FILE_VARIABLE)


def _chosen(told: str | None, where: str, environment: Mapping[str, str], variable: str) -> Setting:
    if environment.get(variable):
        return Setting(environment[variable], variable)
    return Setting(None, "default") if told is None else Setting(told, where)


# ---------------------------------------------------------------- the file


def find(environment: Mapping[str, str]) -> Path | None:
    """Return the file that counts, or None if there is none."""
    here = Path(_NAME)
    return next((path for path in (here, user_file(environment)) if path and path.exists()), None)


def user_file(environment: Mapping[str, str]) -> Path | None:
    """Return where the user's own file is or would be; None for a user without a home."""
    folder, home = environment.get("XDG_CONFIG_HOME", ""), environment.get("HOME", "")
    if not folder and not home:
        return None
    return (Path(folder) if folder else Path(home) / ".config") / "raftq" / "config.toml"


def read(path: Path) -> dict[str, str]:
    """Return the values of a file, by key; paths in it count from the file's folder.

    Raises:
        InvalidRequest: It cannot be read, is no TOML, or has a wrong key or value.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_FILE_BYTES_MAX).decode()
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequest(f"{path} is no TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidRequest(f"{path} cannot be read: {reason}") from None
    return {key: _checked(key, value, path, text) for key, value in values.items()}


def _checked(key: str, value: object, path: Path, text: str) -> str:
    where = f"{path}, line {_line(key, text)}"
    if key not in KEYS:
        raise InvalidRequest(f"{where}: {_unknown(key)}")
    if key == "addresses" and isinstance(value, list):
        listed = cast("list[object]", value)
        if all(isinstance(each, str) for each in listed):
            value = ",".join(map(str, listed))
    if not isinstance(value, str) or not value.strip():
        kind = "text, or a list of texts" if key == "addresses" else "text"
        raise InvalidRequest(f"{where}: {key} is {value!r}; it must be {kind}")
    if key == "addresses":
        try:
            parse_addresses(value)
        except InvalidRequest as error:
            raise InvalidRequest(f"{where}: addresses: {error.message}") from None
        return value
    if key == "tls_ca" and value == SYSTEM_CA:
        return value
    return os.path.normpath(path.parent / Path(value).expanduser())


def _unknown(key: str) -> str:
    if key in _SECRETS:
        return f"there is no key {key!r}: a secret stands in a file of its own, named by token_file"
    known = ", ".join(KEYS)
    return f"there is no key {key!r}{did_you_mean(key, KEYS)}; there are {known}"


def _line(key: str, text: str) -> int:
    """Return the number of the line that sets a key; tomllib does not tell."""
    pattern = re.compile(rf"\s*\[*\s*[\"']?{re.escape(key)}\b")
    lines = text.splitlines()
    return next((number for number, line in enumerate(lines, 1) if pattern.match(line)), 1)
