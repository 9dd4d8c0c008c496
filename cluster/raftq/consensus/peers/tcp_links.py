"""Links over byte streams: framing, hello, one connection per peer, reconnection.

The node with the greater id dials; the other one, too, if it waits in vain: the greater may not
know yet that it is a member. A new connection of a peer supersedes the old one, which is closed and
never read again (its late messages could be acks of another life). Frames of one turn of the loop
leave in one write.

Anything malformed closes its connection and changes nothing.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from random import Random

from tornado.iostream import StreamClosedError

from raftq.consensus.peers.links import LinkReceiver
from raftq.consensus.peers.messages import (
    FRAME_HEADER,
    NotMember,
    PeerHello,
    PeerMessage,
    decode_message,
    encode_frame,
)
from raftq.consensus.peers.network import Network, Stream
from raftq.protocol import limits
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.versions import PEER_PROTOCOL_VERSION

_log = logging.getLogger(__name__)

_DIAL_TIMEOUT_SECONDS = 1.0
_DIAL_PAUSE_SECONDS = 0.1
_DIAL_PAUSE_MAX_SECONDS = 1.0
_IN_VAIN_SECONDS = 2.0
"""How long the node with the smaller id waits to be dialled."""
_READ_BYTES = 256 * limits.KIB
_HELLO_BYTES_MAX = 4 * limits.KIB
_DRAIN_SECONDS = 0.5
_TLS_RECORD_START = b"\x16\x03"
"""How a TLS handshake begins, where a hello has its length."""


class TcpLinks:
    """The links of one node; implements `Links`.

    Args:
        node: This member's id.
        listen: (host, port) to bind.
        addresses: (host, port) of every other member by id, until `set_peers`.
        random: Jitter of redials.
        network: Opens and accepts connections.
        proven_node: Returns the id that the other side of a fresh connection proved, or raises
            InvalidRequest; None on a network in which nobody proves anything.
    """

    def __init__(
        self,
        node: str,
        listen: tuple[str, int],
        addresses: Mapping[str, tuple[str, int]],
        random: Random,
        network: Network,
        proven_node: Callable[[Stream], str] | None = None,
    ) -> None:
        self._node = node
        self._proven_node = proven_node
        self._listen = listen
        self._peers: dict[str, Sequence[tuple[str, int]]] = {
            peer: (address,) for peer, address in addresses.items()
        }
        self._random = random
        self._links: dict[str, _Link] = {}
        self._dialers: dict[str, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._network = network
        self._receiver: LinkReceiver | None = None
        self._unwelcome: set[str] = set()

    @property
    def receiver(self) -> LinkReceiver:
        """Who is told; only after `start`."""
        assert self._receiver is not None
        return self._receiver

    async def start(self, receiver: LinkReceiver) -> None:
        """Listen, and dial the peers for ever."""
        self._receiver = receiver
        host, port = self._listen
        self._network.listen(host, port, self._accept)
        for peer in self._peers:
            self._start_dialling(peer)

    def set_peers(self, peers: Mapping[str, Sequence[tuple[str, int]]]) -> None:
        """Keep links to these nodes, and end those to others; each has addresses to try."""
        before, self._peers = self._peers, dict(peers)
        for peer in [peer for peer in before if peer not in peers]:
            self.end(peer)
            dialler = self._dialers.pop(peer, None)
            if dialler is not None:
                dialler.cancel()
                self._ending.add(dialler)
                dialler.add_done_callback(self._ending.discard)
        if self._receiver is not None:
            for peer in [peer for peer in peers if peer not in before]:
                self._start_dialling(peer)

    def end(self, peer: str) -> None:
        """End the link to a node, if there is one, after what is queued for it."""
        link = self._links.get(peer)
        if link is not None:
            link.end()

    def _start_dialling(self, peer: str) -> None:
        dialler = asyncio.create_task(self._dial_for_ever(peer), name=f"dial {peer}")
        self._dialers[peer] = dialler

    async def stop(self) -> None:
        """Stop listening and dialling; what was queued still leaves if the peer takes it."""
        self._network.stop_listening()
        diallers = [*self._dialers.values(), *self._ending]
        for dialler in diallers:
            dialler.cancel()
        await asyncio.gather(*diallers, return_exceptions=True)
        links = list(self._links.values())
        await asyncio.gather(*(link.drain() for link in links))
        for link in links:
            link.close()
        await asyncio.sleep(0)  # Let the readers of closed connections end.

    def send(self, peer: str, message: PeerMessage) -> bool:
        """Queue a message for a peer; False if there is no link."""
        link = self._links.get(peer)
        if link is None:
            return False
        link.send(message)
        return True

    def is_linked(self, peer: str) -> bool:
        """Tell whether a link to a peer is up."""
        return peer in self._links

    def reachable(self) -> Mapping[str, bool]:
        """Return for each peer, and each linked node, whether a link to it is up."""
        peers = dict.fromkeys(self._peers, False)
        return peers | dict.fromkeys(self._links, True)

    # ------------------------------------------------------------ connections

    async def _dial_for_ever(self, peer: str) -> None:
        pause = _DIAL_PAUSE_SECONDS
        tries = 0
        while True:
            addresses = self._peers[peer]
            if peer > self._node:
                await asyncio.sleep(_IN_VAIN_SECONDS * (1 + self._random.random()))
                if peer in self._links:
                    continue
            if not addresses:
                await asyncio.sleep(_DIAL_PAUSE_MAX_SECONDS)  # It is known by name only.
                continue
            address = addresses[tries % len(addresses)]
            tries += 1
            try:
                async with asyncio.timeout(_DIAL_TIMEOUT_SECONDS):
                    stream = await self._network.dial(*address)
            except (OSError, StreamClosedError, TimeoutError) as error:
                reason = _reason(error)
                if reason is not None:
                    self._log_unwelcome(peer, reason)
                pause = min(2 * pause, _DIAL_PAUSE_MAX_SECONDS)
            else:
                if await self.run(stream, peer):
                    pause = _DIAL_PAUSE_SECONDS
            await asyncio.sleep(pause * (0.5 + self._random.random()))

    async def _accept(self, stream: Stream) -> None:
        await self.run(stream, None)

    async def run(self, stream: Stream, dialled: str | None) -> bool:
        """Introduce both sides, then read until the connection ends; True if it was a link.

        Args:
            stream: A fresh connection.
            dialled: The peer it was dialled to, or None for an accepted one.
        """
        stream.set_nodelay(True)
        try:
            async with asyncio.timeout(limits.HELLO_TIMEOUT_MS / 1_000):
                hello = await self._exchange_hello(stream, dialled)
        except (InvalidRequest, StreamClosedError, TimeoutError) as error:
            reason = _reason(error)
            if reason is not None:
                self._log_unwelcome(dialled or "unknown", reason)
            stream.close()
            return False
        except asyncio.CancelledError:
            stream.close()
            raise
        link = _Link(hello.sender, stream, self)
        self._supersede(link)
        self.receiver.on_link_up(hello.sender, hello)
        try:
            await link.read_for_ever()
        except InvalidRequest as error:
            self._log_unwelcome(hello.sender, str(error))
        except StreamClosedError:
            pass
        finally:
            self._drop(link)
        return True

    async def _exchange_hello(self, stream: Stream, dialled: str | None) -> PeerHello:
        if dialled is not None:
            self._require_proof(stream, dialled)
            await stream.write(bytes(encode_frame(self.receiver.hello_for(dialled))))
        header = await stream.read_bytes(FRAME_HEADER.size)
        (size,) = FRAME_HEADER.unpack(header)
        if size > _HELLO_BYTES_MAX:
            if header.startswith(_TLS_RECORD_START):
                raise InvalidRequest("it speaks TLS, and this node has no peer_tls_ settings")
            raise InvalidRequest(f"a hello of {size} bytes: this is no peer of raftq")
        hello = decode_message(await stream.read_bytes(size))
        if isinstance(hello, NotMember) and dialled is not None:
            self.receiver.on_message(dialled, hello)
            raise InvalidRequest(f"{dialled} does not know this node as a member")
        if not isinstance(hello, PeerHello):
            raise InvalidRequest("the first message was no hello")
        if dialled is None:
            self._require_proof(stream, hello.sender)
        self._check(hello, dialled)
        refusal = self.receiver.refuse(hello)
        if refusal is None and dialled is None:
            await stream.write(bytes(encode_frame(self.receiver.hello_for(hello.sender))))
            refusal = self.receiver.refuse(hello)  # It may have been removed during the write.
        if refusal is not None:
            if refusal.farewell is not None and dialled is None:
                await stream.write(bytes(encode_frame(refusal.farewell)))
            raise InvalidRequest(refusal.reason)
        return hello

    def _require_proof(self, stream: Stream, node: str) -> None:
        """Refuse a connection whose other side proved to be another node than it should be."""
        proven = node if self._proven_node is None else self._proven_node(stream)
        if proven != node:
            raise InvalidRequest(f"it should be {node}, and its certificate is that of {proven}")

    def _check(self, hello: PeerHello, dialled: str | None) -> None:
        if hello.version != PEER_PROTOCOL_VERSION:
            raise InvalidRequest(
                f"{hello.sender} speaks peer protocol {hello.version}, this node "
                f"{PEER_PROTOCOL_VERSION}"
            )
        if hello.receiver != self._node or hello.sender == self._node:
            raise InvalidRequest(
                f"{hello.sender} looks for {hello.receiver}; this is {self._node}: check the "
                "cluster setting of both"
            )
        if dialled is not None and hello.sender != dialled:
            raise InvalidRequest(f"{hello.sender} answers at the address of {dialled}")

    def _supersede(self, link: "_Link") -> None:
        old = self._links.pop(link.peer, None)
        if old is not None:
            old.close()
            self.receiver.on_link_down(link.peer)
        self._links[link.peer] = link

    def _drop(self, link: "_Link") -> None:
        link.close()
        if self._links.get(link.peer) is link:
            del self._links[link.peer]
            self.receiver.on_link_down(link.peer)

    def is_current(self, link: "_Link") -> bool:
        """Tell whether this is the live link of its peer."""
        return self._links.get(link.peer) is link

    def _log_unwelcome(self, peer: str, reason: str) -> None:
        """Log each kind of refusal once, so that a stubborn stranger cannot fill the disk."""
        if reason not in self._unwelcome and len(self._unwelcome) < limits.FACTS_MAX:
            self._unwelcome.add(reason)
            _log.warning("peer_refused", extra={"peer": peer, "reason": reason})


def _reason(error: Exception) -> str | None:
    """Return why a connection failed, if it is for a person to mend: a hello or a certificate."""
    if isinstance(error, InvalidRequest):
        return str(error)
    cause = error.real_error if isinstance(error, StreamClosedError) else error
    went_away = isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    return f"TLS: {cause}" if isinstance(cause, ssl.SSLError) and not went_away else None


class _Link:
    """One established connection to a peer."""

    def __init__(self, peer: str, stream: Stream, links: TcpLinks) -> None:
        self.peer = peer
        self._stream = stream
        self._links = links
        self._outbox: list[bytearray] = []
        self._unsent_bytes = 0
        self._is_congested = False

    def send(self, message: PeerMessage) -> None:
        """Queue a frame for the write at the end of this turn of the loop."""
        if not self._outbox:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outbox.append(encode_frame(message))

    def _flush(self) -> None:
        data = b"".join(self._outbox)
        self._outbox.clear()
        if not data or self._stream.closed():
            return
        self._unsent_bytes += len(data)
        try:
            written = self._stream.write(data)
        except StreamClosedError:
            return
        written.add_done_callback(lambda _: self._on_written(len(data)))
        self._report_congestion()

    def _on_written(self, size: int) -> None:
        self._unsent_bytes -= size
        self._report_congestion()

    def _report_congestion(self) -> None:
        bound = limits.PEER_BUFFER_BYTES_MAX
        congested = self._unsent_bytes > (bound // 2 if self._is_congested else bound)
        if congested != self._is_congested and self._links.is_current(self):
            self._is_congested = congested
            self._links.receiver.on_congestion(self.peer, congested)

    async def read_for_ever(self) -> None:
        """Pass on every message until the connection ends or is superseded.

        Raises:
            StreamClosedError: The connection ended.
            InvalidRequest: The peer sent something malformed.
        """
        buffer = bytearray()
        while self._links.is_current(self):
            buffer += await self._stream.read_bytes(_READ_BYTES, partial=True)
            offset = 0
            while len(buffer) - offset >= FRAME_HEADER.size:
                (size,) = FRAME_HEADER.unpack_from(buffer, offset)
                if size > limits.PEER_FRAME_BYTES_MAX:
                    raise InvalidRequest(f"a frame of {size} bytes is over the limit")
                end = offset + FRAME_HEADER.size + size
                if len(buffer) < end:
                    break
                # A copy, because forwarded calls keep a reference to the frame they came in.
                message = decode_message(bytes(buffer[offset + FRAME_HEADER.size : end]))
                offset = end
                if self._links.is_current(self):
                    self._links.receiver.on_message(self.peer, message)
            del buffer[:offset]

    def end(self) -> None:
        """Send what is queued, as far as it can leave at once, and close the connection."""
        self._flush()
        self.close()

    async def drain(self) -> None:
        """Give queued frames a moment to leave."""
        self._flush()
        with contextlib.suppress(StreamClosedError, TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._stream.write(b"")

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()
