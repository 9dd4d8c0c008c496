"""The network switch between the nodes, a program in user space: it can lose, delay and reorder.

Each port is a tap device, which the run moves into a node's network namespace. A frame goes from
port to port by its destination address, under the rule for that way. TCP itself runs in the
kernel, so what connections make of lost and late packets is what they make of it anywhere.

Rules come as lines of JSON on stdin, each replacing all before; a line on stdout confirms it.
"""

import fcntl
import heapq
import os
import selectors
import struct
import sys
from collections.abc import Sequence
from random import Random
from time import monotonic
from typing import Final

import msgspec

_TUNSETIFF: Final = 0x400454CA
_IFF_TAP: Final = 0x0002
_IFF_NO_PI: Final = 0x1000
_FRAME_BYTES: Final = 65_536
_FRAMES_AT_ONCE: Final = 64
_LATE_FRAMES_MAX: Final = 20_000


class Way(msgspec.Struct, frozen=True):
    """What happens to frames on one way, from a port to another."""

    loss: float = 0.0
    """Share of frames that are lost; 1.0 cuts the way."""
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    """Up to so much more delay for each frame, which reorders them."""
    doubled: float = 0.0
    """Share of frames that arrive twice."""


Rules = dict[str, Way]
"""Ways by `from>to`; those that are not named are clear."""


def mac_of(number: int) -> bytes:
    """Return the hardware address behind a port, from 1 to 254."""
    return bytes([2, 0, 0, 0, 0, number])


class Switch:
    """Forwards frames between ports.

    Args:
        ports: Open descriptors of taps by name, in the order of their hardware addresses.
        random: Decides which frames suffer.
    """

    def __init__(self, ports: dict[str, int], random: Random) -> None:
        self._ports = ports
        self._names = {mac_of(number): name for number, name in enumerate(ports, 1)}
        self._random = random
        self._rules: dict[tuple[str, str], Way] = {}
        self._late: list[tuple[float, int, int, bytes]] = []
        self._count = 0

    def set_rules(self, rules: Rules) -> None:
        """Replace all rules; frames that are already late stay so, unless their way is cut."""
        self._rules = {}
        for name, way in rules.items():
            source, _, target = name.partition(">")
            self._rules[source, target] = way

    def read(self, source: str) -> None:
        """Forward what waits at a port."""
        descriptor = self._ports[source]
        for _ in range(_FRAMES_AT_ONCE):
            try:
                frame = os.read(descriptor, _FRAME_BYTES)
            except (BlockingIOError, OSError):
                return
            known = self._names.get(frame[:6])
            targets = [known] if known else [name for name in self._ports if name != source]
            for target in targets:
                self._forward(source, target, frame)

    def _forward(self, source: str, target: str, frame: bytes) -> None:
        way = self._rules.get((source, target))
        if way is None:
            _send(self._ports[target], frame)
            return
        if self._random.random() < way.loss:
            return
        for _ in range(2 if self._random.random() < way.doubled else 1):
            late = (way.delay_ms + way.jitter_ms * self._random.random()) / 1_000
            if late <= 0:
                _send(self._ports[target], frame)
            elif len(self._late) < _LATE_FRAMES_MAX:
                self._count += 1
                entry = (monotonic() + late, self._count, self._ports[target], frame)
                heapq.heappush(self._late, entry)

    def send_late(self) -> float | None:
        """Send what is due, and return the seconds until more is; None if nothing waits."""
        now = monotonic()
        while self._late and self._late[0][0] <= now:
            _, _, descriptor, frame = heapq.heappop(self._late)
            _send(descriptor, frame)
        return max(self._late[0][0] - now, 0.0) if self._late else None


def _send(descriptor: int, frame: bytes) -> None:
    try:
        os.write(descriptor, frame)
    except (BlockingIOError, OSError):
        return  # The queue is full or the device is down: a lost frame.


def open_tap(name: str) -> int:
    """Make a tap device that exists as long as its descriptor is open."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    request = struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI)
    fcntl.ioctl(descriptor, _TUNSETIFF, request)
    return descriptor


def main(names: Sequence[str]) -> None:
    """Be the switch until stdin ends. Arguments: names of the taps to make."""
    ports = {name: open_tap(name) for name in names}
    switch = Switch(ports, Random())
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ, None)
    for name, descriptor in ports.items():
        selector.register(descriptor, selectors.EVENT_READ, name)
    decoder = msgspec.json.Decoder(Rules)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select(switch.send_late()):
            if isinstance(key.data, str):
                switch.read(key.data)
                continue
            line = sys.stdin.buffer.readline()
            if not line:
                return
            switch.set_rules(decoder.decode(line))
            print("ok", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
