"""Noticing that a connection leads nowhere any more, when no packet says so.

A node that loses its network address (a container that moves, a cable that is pulled) sends no
farewell. Left alone, TCP would believe in such a connection for a quarter of an hour, and the node
that dials would not dial again before. The kernel is asked to give up sooner; a node that is only
slow or stopped is not mistaken for gone, because its kernel still acknowledges.
"""

import socket
from typing import Final

DEAD_AFTER_SECONDS: Final = 3
"""Longer than the retransmissions of a lossy network need, shorter than anybody waits."""
_PROBE_SECONDS: Final = 1


def end_when_dead(connection: socket.socket) -> None:
    """Make the kernel break a connection whose other side acknowledges nothing for a while."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # For what is on its way. Keepalive does not look at it, and only Linux has this.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        connection.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_AFTER_SECONDS * 1_000
        )
    # For a link that is idle, as between two followers; macOS names the first one otherwise.
    for name in ("TCP_KEEPIDLE", "TCP_KEEPALIVE", "TCP_KEEPINTVL"):
        option: object = getattr(socket, name, None)
        if isinstance(option, int):
            connection.setsockopt(socket.IPPROTO_TCP, option, _PROBE_SECONDS)
    if hasattr(socket, "TCP_KEEPCNT"):
        connection.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_KEEPCNT, DEAD_AFTER_SECONDS // _PROBE_SECONDS
        )
