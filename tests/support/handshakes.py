"""TLS handshakes in memory, and certificates for tests."""

import asyncio
import contextlib
import ssl
from typing import Final

_FIRST_FLIGHT: Final = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)


class Refused(AssertionError):
    """One side did not accept the other; the text says why."""


def shake_hands(accepting: ssl.SSLContext, dialling: ssl.SSLContext, host: str | None) -> str:
    """Run a handshake in memory, to its end on both sides, and return the version spoken.

    Raises:
        Refused: A side refused.
    """
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = accepting.wrap_bio(up, down, server_side=True)
    client = dialling.wrap_bio(down, up, server_hostname=host)
    waiting = [client, server]
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                raise Refused(str(error)) from None
    assert not waiting, "the handshake hangs"
    return str(client.version())


async def drip_until_cut_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a handshake byte by byte until the other side has had enough."""
    ended = asyncio.create_task(reader.read())
    async with asyncio.timeout(10.0):
        for byte in _FIRST_FLIGHT:
            if ended.done():
                break
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
        with contextlib.suppress(ConnectionError):
            await ended
    assert ended.done()
