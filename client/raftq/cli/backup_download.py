"""Fetching one backup: bytes to `FILE.new`, synced, verified, renamed; all of it again if it fails.

Nothing is ever resumed: a backup is of one moment, and another node, or the same one later, has
another.
"""

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Final, TypeAlias, cast

import typer

from raftq.cli import output
from raftq.cli.config_file import client_settings
from raftq.cli.readiness import http_connection
from raftq.protocol.errors import RaftqError, UnavailableError, error_from_code

Choice: TypeAlias = list[str]
"""HTTP addresses of nodes, in the order in which they should be asked."""
_PIECE_BYTES: Final = 256 * 1024
_SILENCE_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 0.2
_BARRIER_SECONDS: Final = 10.0
_FACTS: Final = ("index", "state_hash", "cluster_id", "node", "taken_at_ms")


class _TryAgain(Exception):
    """This attempt came to nothing; another may do better."""


def download(
    file: Path, choose: Callable[[], Choice], consistency: str, timeout: float, address: str = ""
) -> dict[str, object]:
    """Fetch a backup and return what it says of itself; ends the command if that fails.

    Args:
        file: Where it goes.
        choose: Returns the nodes to ask, anew for each round.
        consistency: As in the HTTP API.
        timeout: Seconds for all of it.
        address: What the command says about where the cluster is.
    """
    temporary = file.with_name(file.name + ".new")
    try:
        with open(temporary, "ab", opener=_private) as target:
            try:
                fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                output.say(f"raftq: another backup to {file} is being taken")
                raise typer.Exit(output.EXIT_FAILED) from None
            try:
                facts = _try_until(
                    target.fileno(), temporary, choose, consistency, timeout, address
                )
                facts = {"file": str(file), **facts}
                os.replace(temporary, file)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        _sync_folder(file.parent)
        return facts
    except OSError as error:
        output.say(f"raftq: {file} cannot be written: {error}")
        raise typer.Exit(output.EXIT_FAILED) from None
    except KeyboardInterrupt:
        output.say("interrupted; nothing was kept")
        raise typer.Exit(output.EXIT_INTERRUPTED) from None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)  # It holds every payload.


def _try_until(
    target: int,
    temporary: Path,
    choose: Callable[[], Choice],
    consistency: str,
    timeout: float,
    address: str,
) -> dict[str, object]:
    deadline = time.monotonic() + timeout
    try:
        credentials = client_settings(address, os.environ).credentials(os.environ)
    except RaftqError as error:
        output.fail(error)
    while True:
        last = "no node that can be reached tells its HTTP address"
        for http in choose():
            try:
                return _attempt(target, temporary, http, consistency, deadline, credentials)
            except _TryAgain as error:
                last = f"{http}: {error}"
            except RaftqError as error:
                output.fail(error)
        if time.monotonic() + _PAUSE_SECONDS >= deadline:
            output.fail(UnavailableError(f"no backup could be taken in time; at last {last}"))
        time.sleep(_PAUSE_SECONDS)


def _attempt(
    target: int,
    temporary: Path,
    http: str,
    consistency: str,
    deadline: float,
    credentials: tuple[str | None, str | None],
) -> dict[str, object]:
    """Fetch and verify a backup of one node.

    Raises:
        _TryAgain: It did not work out.
        RaftqError: It never will.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise _TryAgain("there was no time left")
    token, tls_ca = credentials
    try:
        connection = http_connection(http, min(_SILENCE_SECONDS, left), tls_ca)
    except (ValueError, HTTPException) as error:
        raise _TryAgain(str(error)) from None
    try:
        answer = _ask(connection, consistency, min(_BARRIER_SECONDS, left), token)
        received = _receive(answer, target, deadline)
    except (HTTPException, ConnectionError, TimeoutError, OSError) as error:
        if isinstance(error, _DiskError):
            raise
        raise _TryAgain(str(error) or type(error).__name__) from None
    finally:
        connection.close()
    os.fsync(target)
    return {"bytes": received, **_verified(temporary)}


class _DiskError(OSError):
    """The file could not be written; no other node will help."""


def _ask(
    connection: HTTPConnection, consistency: str, patience: float, token: str | None
) -> HTTPResponse:
    query = f"consistency={consistency}&timeout_ms={max(int(patience * 1_000), 1)}"
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    connection.request("GET", f"/v1/backup?{query}", headers=headers)
    answer = connection.getresponse()
    if answer.status != 200:
        raise _refusal(answer)
    return answer


def _refusal(answer: HTTPResponse) -> Exception:
    """Return the error of a problem document."""
    body = answer.read(65_536)
    try:
        problem = cast("dict[str, object]", json.loads(body))
        error = error_from_code(str(problem["code"]), str(problem["detail"]), {})
    except (ValueError, LookupError, TypeError):
        return _TryAgain(f"HTTP status {answer.status}")
    is_final = 400 <= answer.status < 500 and not isinstance(error, UnavailableError)
    return error if is_final else _TryAgain(f"{error.code}: {error.message}")


def _receive(answer: HTTPResponse, target: int, deadline: float) -> int:
    """Write what comes, and return how much it was."""
    os.ftruncate(target, 0)
    received = 0
    while piece := answer.read(_PIECE_BYTES):
        try:
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(target, rest) :]
        except OSError as error:
            raise _DiskError(error.errno, error.strerror) from error
        received += len(piece)
        if time.monotonic() > deadline:
            raise TimeoutError("it took too long")
    return received


def _verified(path: Path) -> dict[str, object]:
    """Return what a backup says of itself, every record and its end having been checked."""
    command = [sys.executable, "-m", "raftq.storage.inspect", "--json", "--", str(path)]
    done = subprocess.run(command, capture_output=True, check=False)
    try:
        (report,) = cast("list[dict[str, dict[str, object]]]", json.loads(done.stdout))
        if done.returncode == 0 and str(report["kind"]) == "backup":
            return {name: report["facts"][name] for name in _FACTS}
    except (ValueError, LookupError):
        pass
    raise _TryAgain("what came is no whole backup")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
