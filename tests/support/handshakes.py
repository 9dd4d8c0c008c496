"""TLS handshakes in memory, and certificates for tests."""

import ssl


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
