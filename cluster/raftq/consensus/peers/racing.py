"""Connecting to a host that has several addresses, of which some may lead nowhere.

Attempts start one after another, each as soon as the one before has failed or has had its head
start; the first that connects wins (RFC 8305, without its sorting, which the resolver has done).
"""

import asyncio
import socket
from typing import Any, Final

_HEAD_START_SECONDS: Final = 0.15
_ADDRESSES_MAX: Final = 8
_Attempts = set["asyncio.Task[socket.socket]"]


async def connect(host: str, port: int) -> socket.socket:
    """Resolve a host now and connect to one of its addresses; nothing else is left open.

    Raises:
        OSError: There is no such host, or none of its addresses can be connected to.
    """
    loop = asyncio.get_running_loop()
    # At each dial: a container that comes back may have another address.
    resolved = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    running: _Attempts = set()
    failures: list[BaseException] = []
    try:
        for family, kind, protocol, _, address in resolved[:_ADDRESSES_MAX]:
            candidate = socket.socket(family, kind, protocol)
            running.add(asyncio.create_task(_attempt(candidate, address)))
            winner = await _next(running, failures, _HEAD_START_SECONDS)
            if winner is not None:
                return winner
        while running:
            winner = await _next(running, failures, None)
            if winner is not None:
                return winner
    finally:
        for attempt in running:
            attempt.cancel()
            attempt.add_done_callback(_close)
    raise failures[0] if failures else OSError(f"{host} has no address")


async def _attempt(candidate: socket.socket, address: tuple[Any, ...]) -> socket.socket:
    try:
        candidate.setblocking(False)
        await asyncio.get_running_loop().sock_connect(candidate, address)
    except BaseException:
        candidate.close()
        raise
    return candidate


async def _next(
    running: _Attempts, failures: list[BaseException], timeout: float | None
) -> socket.socket | None:
    """Wait until an attempt has ended, or for the timeout; return its socket if it connected."""
    done, _ = await asyncio.wait(running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    for attempt in done:
        running.discard(attempt)
        error = attempt.exception()
        if error is None:
            return attempt.result()  # Another one that is done, too, stays in `running`.
        failures.append(error)
    return None


def _close(attempt: "asyncio.Task[socket.socket]") -> None:
    """Close the socket of an attempt that nobody wants any more."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()
