"""A node that would be open to strangers does not start; one behind a port of another name is
found there."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.asyncs import asynchronous, within
from tests.support.nodes import wait_until
from tests.support.secured import make_certificates

from raftq.cli.local_cluster import LocalCluster, NodeProcess, free_ports
from raftq.client import AsyncClient

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("RAFTQ_")}


def start(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Start a node that must end by itself."""
    native, http, peer = free_ports(3)
    words = ["--node-id", "n1", "--data-dir", str(folder / "data"),
             "--native", f"127.0.0.1:{native}", "--http", f"127.0.0.1:{http}",
             "--peer", f"127.0.0.1:{peer}", "--cluster", f"n1=127.0.0.1:{peer}"]  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "raftq.node.main", *words, *more],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=ENVIRONMENT,
    )


@pytest.mark.parametrize(
    ("listener", "advice"),
    [("peer", "peer_tls_ca"), ("native", "tokens_file"), ("http", "tokens_file")],
)
def test_an_open_address_is_code_2_and_says_what_to_do(
    listener: str, advice: str, tmp_path: Path
) -> None:
    ended = start(tmp_path, f"--{listener}", "0.0.0.0:1")
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"raftqd: {listener} is 0.0.0.0:1, which is not loopback")
    assert advice in line and "--insecure" in line
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_a_bad_certificate_is_code_2_and_nothing_is_written(tmp_path: Path) -> None:
    certs = tmp_path / "certs"
    make_certificates(certs, "n2")
    ended = start(tmp_path, "--peer-tls-ca", str(certs / "ca.crt"), "--peer-tls-cert",
                  str(certs / "n2.crt"), "--peer-tls-key", str(certs / "n2.key"))  # fmt: skip
    assert ended.returncode == 2
    assert "raftq://node/n2" in ended.stderr and "Traceback" not in ended.stderr
    assert not (tmp_path / "data").exists()


def test_an_insecure_node_starts_and_says_at_each_start_what_is_open(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path, size=1, settings={"insecure": "true"})
    (node,) = cluster.nodes
    http = f"0.0.0.0:{node.http.rpartition(':')[2]}"
    cluster.settings["http"] = http
    with cluster:
        lines = [json.loads(line) for line in node.log.read_text().splitlines()]
    (warning,) = [line for line in lines if line["event"] == "insecure"]
    assert warning["level"] == "warning" and f"http is {http}" in warning["what"]


class Forwarder:
    """A published port: passes bytes on to another."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.connections = 0
        self._target = target
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        serving = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(_pass_on(reader, inner_writer), _pass_on(inner_reader, writer))

    async def stop(self) -> None:
        """Wait until the clients have left, and close the port."""
        assert self._server is not None
        self._server.close()
        await asyncio.gather(*self._serving)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
    writer.close()


class PublishedNode(NodeProcess):
    """A node that clients reach at other addresses than it binds."""

    def __init__(self, cluster: LocalCluster, number: int, native: int, http: int) -> None:
        super().__init__(cluster, number)
        self._advertised = {
            "RAFTQ_ADVERTISE_NATIVE": f"localhost:{native}",
            "RAFTQ_ADVERTISE_HTTP": f"[::1]:{http}",
        }

    def environment(self) -> dict[str, str]:
        """Return the environment of the process."""
        return super().environment() | self._advertised


def test_a_node_behind_a_published_port_is_found_where_it_advertises(tmp_path: Path) -> None:
    """The client is given one node, and learns the others' published ports from it."""
    published = free_ports(6)
    cluster = LocalCluster(tmp_path)
    cluster.nodes[:] = [
        PublishedNode(cluster, i + 1, published[i], published[3 + i]) for i in range(3)
    ]

    @asynchronous
    async def body() -> None:
        forwarders = [
            Forwarder(port, int(node.native.rpartition(":")[2]))
            for port, node in zip(published[:3], cluster.nodes, strict=True)
        ]
        for forwarder in forwarders:
            await forwarder.start()
        leader = await asyncio.to_thread(cluster.wait_leader)
        number = cluster.nodes.index(leader)
        other = forwarders[(number + 1) % 3]
        async with AsyncClient(f"127.0.0.1:{other.port}", timeout=15) as client:
            for _ in range(3):
                await client.enqueue("q", b"x")
            assert forwarders[number].connections >= 1, "the leader was reached, at its port"
            status = await within(10.0, client.cluster())
            found = {each.id: (each.native_address, each.http_address) for each in status.nodes}
            assert found == {
                node.id: (f"localhost:{published[i]}", f"[::1]:{published[3 + i]}")
                for i, node in enumerate(cluster.nodes)
            }
        for forwarder in forwarders:
            await forwarder.stop()

    with cluster:
        wait_until(lambda: all(_knows_all(node) for node in cluster.nodes), "all addresses")
        body()


def _knows_all(node: NodeProcess) -> bool:
    found = node.get("/v1/cluster")
    nodes: list[dict[str, str]] = json.loads(found[1])["nodes"] if found else [{}]
    return all(each.get("native_address") for each in nodes)
