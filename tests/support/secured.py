"""A cluster of real nodes with certificates and tokens, made by the commands that users have."""

import json
import os
from http.client import HTTPException
from pathlib import Path

from tests.support.clusters import raftq_inside

from raftq.cli.local_cluster import LocalCluster, NodeProcess
from raftq.cli.readiness import http_connection

NAME = "app"


def make_certificates(folder: Path, *nodes: str) -> None:
    """Run `raftq certs new`."""
    words = [word for node in nodes for word in ("--node", node)]
    made = raftq_inside("certs", "new", "--out", str(folder), *words)
    assert made.code == 0, made.err


def make_token(name: str = NAME) -> tuple[str, str]:
    """Run `raftq token new` and return (token, line)."""
    made = json.loads(raftq_inside("token", "new", name, "--json").out)
    return made["token"], made["line"]


def replace(path: Path, text: str) -> None:
    """Replace a file as an editor does."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    os.replace(new, path)


class SecuredNode(NodeProcess):
    """A node that asks for certificates and tokens, and is asked with them."""

    def __init__(self, cluster: "SecuredCluster", number: int) -> None:
        super().__init__(cluster, number)
        self._secured = cluster
        certs = cluster.certs
        self.files = {
            "RAFTQ_PEER_TLS_CA": certs / "ca.crt",
            "RAFTQ_PEER_TLS_CERT": certs / f"{self.id}.crt",
            "RAFTQ_PEER_TLS_KEY": certs / f"{self.id}.key",
            "RAFTQ_CLIENT_TLS_CERT": certs / f"{self.id}.crt",
            "RAFTQ_CLIENT_TLS_KEY": certs / f"{self.id}.key",
            "RAFTQ_TOKENS_FILE": cluster.tokens,
        }

    def environment(self) -> dict[str, str]:
        """Return the environment of the process: its secrets are files that it names."""
        return super().environment() | {name: str(path) for name, path in self.files.items()}

    def get(self, path: str, token: str | None = None) -> tuple[int, bytes] | None:
        """Return (status, body) of an HTTPS GET, or None if the node does not answer."""
        connection = http_connection(self.http, 5.0, str(self._secured.ca))
        try:
            bearer = f"Bearer {token or self._secured.token}"
            connection.request("GET", path, headers={"Authorization": bearer})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()


class SecuredCluster(LocalCluster):
    """Three nodes with everything that docs/operating/security.md advises."""

    def __init__(self, folder: Path, settings: dict[str, str] | None = None) -> None:
        super().__init__(folder, settings=settings)
        self.certs = folder / "certs"
        self.ca = self.certs / "ca.crt"
        self.tokens = folder / "tokens"
        make_certificates(self.certs, "n1", "n2", "n3")
        self.token, line = make_token()
        self.tokens.write_text(line + "\n")
        self.secured = [SecuredNode(self, number) for number in (1, 2, 3)]
        self.nodes[:] = self.secured

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a client of this cluster."""
        return {
            "RAFTQ_ADDRESSES": self.addresses,
            "RAFTQ_TOKEN": self.token,
            "RAFTQ_TLS_CA": str(self.ca),
        }
