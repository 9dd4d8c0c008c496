"""The nodes' network: a namespace for each, and the switch between them."""

import subprocess
import sys
from collections.abc import Iterable
from itertools import permutations
from typing import Final

import msgspec

from raftq.testing.chaos.isolation import NAMED_NAMESPACES, run
from raftq.testing.chaos.switch import Rules, Way, mac_of

CUT: Final = Way(loss=1.0)
_PREFIX: Final = "10.77.0."
_HARNESS: Final = "run"
_DEVICE_BYTES: Final = 1_500


class Network:
    """Namespaces named after the nodes, joined by a switch; the run itself has a port, too.

    Args:
        names: The nodes.
    """

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._ports = [*names, _HARNESS]
        self._rules: Rules = {}
        self._switch = subprocess.Popen(
            [sys.executable, "-m", "raftq.testing.chaos.switch", *self._ports],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._hear("ready")
        for number, name in enumerate(self._ports, 1):
            self._join(number, name)

    def address(self, name: str) -> str:
        """Return the IP address of a node."""
        return f"{_PREFIX}{self._ports.index(name) + 1}"

    def prefix(self, name: str) -> list[str]:
        """Return the command that starts another one in a node's namespace."""
        return ["nsenter", f"--net={NAMED_NAMESPACES / name}"]

    def _join(self, number: int, name: str) -> None:
        inside: list[str] = []
        if name != _HARNESS:
            run("ip", "netns", "add", name)
            run("ip", "link", "set", name, "netns", name)
            inside = self.prefix(name)
            run(*inside, "ip", "link", "set", "lo", "up")
        mac = mac_of(number).hex(":")
        run(*inside, "ip", "link", "set", name, "address", mac, "mtu", str(_DEVICE_BYTES))
        run(*inside, "ip", "address", "add", f"{_PREFIX}{number}/24", "dev", name)
        run(*inside, "ip", "link", "set", name, "up")
        for other, port in enumerate(self._ports, 1):
            if port != name:  # Else a cut way would still be forgotten long after it is healed.
                neighbour = (f"{_PREFIX}{other}", "lladdr", mac_of(other).hex(":"))
                run(*inside, "ip", "neigh", "add", *neighbour, "dev", name, "nud", "permanent")

    # ------------------------------------------------------------ faults

    def set_way(self, source: str, target: str, way: Way) -> None:
        """Say what happens to frames from one node to another, from now on."""
        self._rules[f"{source}>{target}"] = way
        self._tell()

    def separate(self, *groups: Iterable[str]) -> None:
        """Let nothing pass between nodes of different groups."""
        sides = [list(group) for group in groups]
        for ours, theirs in permutations(sides, 2):
            for source in ours:
                for target in theirs:
                    self._rules[f"{source}>{target}"] = CUT
        self._tell()

    def unplug(self, name: str) -> None:
        """Cut a node off from everybody, the run included."""
        for other in self._ports:
            if other != name:
                self._rules[f"{name}>{other}"] = self._rules[f"{other}>{name}"] = CUT
        self._tell()

    def plug(self, name: str) -> None:
        """Clear every way from and to a node."""
        self._rules = {way: rule for way, rule in self._rules.items() if name not in way.split(">")}
        self._tell()

    def impair(self, way: Way) -> None:
        """Make every way between nodes bad."""
        for source, target in permutations(self._names, 2):
            self._rules[f"{source}>{target}"] = way
        self._tell()

    def heal(self) -> None:
        """Clear every way."""
        self._rules.clear()
        self._tell()

    def _tell(self) -> None:
        assert self._switch.stdin is not None
        self._switch.stdin.write(msgspec.json.encode(self._rules) + b"\n")
        self._switch.stdin.flush()
        self._hear("ok")

    def _hear(self, word: str) -> None:
        assert self._switch.stdout is not None
        heard = self._switch.stdout.readline().decode().strip()
        if heard != word:
            raise RuntimeError(f"the switch said {heard!r} instead of {word!r}")

    def close(self) -> None:
        """End the switch and remove the namespaces."""
        if self._switch.stdin is not None:
            self._switch.stdin.close()
        self._switch.wait(10)
        for name in self._names:
            run("ip", "netns", "delete", name)
