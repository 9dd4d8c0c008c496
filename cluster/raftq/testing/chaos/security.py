"""A cluster's secrets for a run: certificates of the nodes, a token of the clients."""

import json
import ssl
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

_CLIENT = "chaos"


@dataclass(frozen=True, slots=True)
class Secrets:
    """What nodes and clients need to trust each other."""

    folder: Path
    token: str = field(repr=False)

    @property
    def ca(self) -> Path:
        """The CA of the nodes' certificates."""
        return self.folder / "ca.crt"

    def flags(self, node: str) -> dict[str, str]:
        """Return the `raftqd` flags of a node, without dashes in front."""
        certificate, key = str(self.folder / f"{node}.crt"), str(self.folder / f"{node}.key")
        return {
            "peer-tls-ca": str(self.ca),
            "peer-tls-cert": certificate,
            "peer-tls-key": key,
            "client-tls-cert": certificate,
            "client-tls-key": key,
            "tokens-file": str(self.folder / "tokens"),
        }

    def tls(self) -> ssl.SSLContext:
        """Return how a client of this cluster speaks TLS."""
        return ssl.create_default_context(cafile=self.ca)


def new_secrets(folder: Path, hosts: dict[str, str]) -> Secrets:
    """Make certificates and a token with the command line, as an operator does.

    Args:
        folder: Where they go; made.
        hosts: Of the nodes, by id.
    """
    nodes = [f"--node={node}={host}" for node, host in hosts.items()]
    _raftq("certs", "new", "--out", str(folder), *nodes)
    made = json.loads(_raftq("token", "new", _CLIENT, "--json"))
    (folder / "tokens").write_text(made["line"] + "\n")
    return Secrets(folder, made["token"])


def _raftq(*arguments: str) -> str:
    command = [sys.executable, "-m", "raftq.cli.main", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
