"""How a listener stops without turning away a client that is already connected."""

from contextlib import suppress

from tornado.tcpserver import TCPServer


class PoliteServer(TCPServer):
    """A TCP server that takes the connections waiting in the kernel before it stops listening.

    The kernel has completed them; closing the listening socket would reset them, after their
    clients may have sent a call.
    """

    def stop(self) -> None:
        """Stop listening."""
        for listener in self._sockets.values():
            with suppress(OSError):  # BlockingIOError: nobody waits any more.
                while True:
                    connection, address = listener.accept()
                    self._handle_connection(connection, address)
        super().stop()
