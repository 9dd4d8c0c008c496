"""A secured cluster of real processes: it works, heals, is renewed, and gives nothing away."""

import base64
import json
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.clusters import ENVIRONMENT, raftq
from tests.support.nodes import new_queue, raw_socket, read_to_end, wait_until
from tests.support.secured import (
    SecuredCluster,
    make_certificates,
    make_token,
    replace,
)

from raftq.client import Client, Forbidden, NoLeader, TaskState
from raftq.protocol.credentials import token_hash

PAYLOAD = b"planted-payload-7f3a"
RESULT = b"planted-result-91bc"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredCluster]:
    with SecuredCluster(tmp_path_factory.mktemp("secured")) as cluster:
        yield cluster


def client_of(cluster: SecuredCluster, timeout: float = 10.0) -> Client:
    return Client(cluster.addresses, token=cluster.token, tls_ca=cluster.ca, timeout=timeout)


def served_certificate(address: str, ca: Path) -> bytes:
    """Return the certificate that a node shows, in DER."""
    context = ssl.create_default_context(cafile=ca)
    host = address.rpartition(":")[0]
    with raw_socket(address) as plain, context.wrap_socket(plain, server_hostname=host) as sock:
        shown = sock.getpeercert(binary_form=True)
    assert shown is not None
    return shown


def life(client: Client, queue: str, count: int) -> None:
    """Enqueue, lease and ack so many tasks."""
    tasks = client.enqueue_many(queue, [PAYLOAD] * count)
    assert len(tasks) == count
    for _ in range(count):
        (leased,) = client.lease(queue, worker="w", wait=10)
        assert leased.payload == PAYLOAD
        assert client.ack(leased.token, RESULT) is TaskState.DONE


def test_a_workload_passes_through_the_death_of_the_leader(cluster: SecuredCluster) -> None:
    queue = new_queue()
    with client_of(cluster, timeout=20) as client:
        life(client, queue, 20)
        leader = cluster.wait_leader()
        leader.kill()
        life(client, queue, 20)
        leader.start()
        cluster.wait_ready()
        life(client, queue, 20)
        assert client.queue(queue).counts["done"] == 60


def test_every_node_reaches_every_other(cluster: SecuredCluster) -> None:
    def all_reached() -> bool:
        views = [node.view() for node in cluster.nodes]
        return all(view is not None and '"reachable": false' not in json.dumps(view)
                   for view in views)  # fmt: skip

    wait_until(all_reached, "links between all nodes")


def test_the_command_line_works_with_what_is_in_the_environment(cluster: SecuredCluster) -> None:
    status = raftq("cluster", "--json", stdin=b"", **cluster.variables)
    assert status.code == 0, status.err
    assert json.loads(status.out)["leader"]
    without = cluster.variables | {"RAFTQ_TOKEN": ""}
    refused = raftq("cluster", stdin=b"", **without)
    assert refused.code == 5 and "RAFTQ_TOKEN" in refused.err
    ready = raftq("node", "ready", RAFTQ_HTTP=cluster.nodes[0].http, RAFTQ_TLS_CA=str(cluster.ca))
    assert (ready.code, ready.err) == (0, "")
    plain = raftq("node", "ready", "--http", cluster.nodes[0].http)
    assert plain.code == 1
    spelled = raftq("node", "ready", "--http", cluster.nodes[0].http, "--timeout", "3",
                    RAFTQ_TLS_CA=str(cluster.ca))  # fmt: skip
    assert spelled.code == 0


def test_readiness_of_a_node_that_listens_everywhere_is_asked_of_loopback(
    cluster: SecuredCluster,
) -> None:
    port = cluster.nodes[0].http.rpartition(":")[2]
    ready = raftq("node", "ready", RAFTQ_HTTP=f"0.0.0.0:{port}", RAFTQ_TLS_CA=str(cluster.ca))
    assert (ready.code, ready.err) == (0, "")


def test_curl_takes_the_certificates(cluster: SecuredCluster) -> None:
    node = cluster.nodes[0]
    command = ["curl", "--silent", "--noproxy", "*", "--cacert", str(cluster.ca)]
    command += ["--header", f"Authorization: Bearer {cluster.token}"]
    command += [f"https://{node.http}/v1/cluster"]
    said = subprocess.run(command, capture_output=True, check=True, timeout=30, env=ENVIRONMENT)
    assert json.loads(said.stdout)["node"] == node.id


def test_plaintext_to_a_tls_port_gets_nothing_and_ends(cluster: SecuredCluster) -> None:
    node = cluster.nodes[0]
    hello = bytes.fromhex("9400 02 a5 68656c6c6f 92 01 a3 646f63")
    for address in (node.native, node.http, node.peer):
        for data in (hello, b"GET /v1/cluster HTTP/1.1\r\nHost: x\r\n\r\n", b"\xff" * 1_000):
            with raw_socket(address) as sock:
                sock.sendall(data)
                answer = read_to_end(sock)
            assert b"raftq" not in answer and b"HTTP" not in answer and len(answer) < 64
    assert node.is_ready()


def test_a_client_without_a_good_token_or_ca_is_refused(
    cluster: SecuredCluster, tmp_path: Path
) -> None:
    make_certificates(tmp_path / "other", "n1")
    for token in (None, cluster.token[:-1], cluster.token.swapcase(), make_token()[0]):
        with_token = Client(cluster.addresses, token=token, tls_ca=cluster.ca)
        with with_token as client, pytest.raises(Forbidden):
            client.cluster()
    stranger = Client(cluster.addresses, token=cluster.token, timeout=1.5,
                      tls_ca=tmp_path / "other" / "ca.crt")  # fmt: skip
    with stranger, pytest.raises(NoLeader, match="certificate verify failed"):
        stranger.cluster()


def test_a_node_without_the_clusters_certificates_stays_alone(tmp_path: Path) -> None:
    """n3 has certificates of another CA: the others go on without it, and all say why."""
    cluster = SecuredCluster(tmp_path)
    make_certificates(tmp_path / "other", "n3")
    odd = cluster.secured[2]
    for suffix in ("crt", "key"):
        odd.files[f"RAFTQ_PEER_TLS_{'CERT' if suffix == 'crt' else 'KEY'}"] = (
            tmp_path / "other" / f"n3.{suffix}"
        )
    for node in cluster.nodes:
        node.start()
    try:
        wait_until(lambda: all(node.is_ready() for node in cluster.nodes[:2]), "two nodes")
        wait_until(lambda: "certificate verify failed" in cluster.nodes[0].log.read_text(), "why")
        with client_of(cluster) as client:
            life(client, new_queue(), 3)
        assert not odd.is_ready()
        found = cluster.nodes[0].get("/v1/cluster")
        assert found is not None
        reachable = {each["id"]: each["reachable"] for each in json.loads(found[1])["nodes"]}
        assert reachable == {"n1": True, "n2": True, "n3": False}
    finally:
        cluster.stop()


def test_certificates_and_tokens_are_renewed_without_a_restart(tmp_path: Path) -> None:
    with SecuredCluster(tmp_path) as cluster:
        pids = [node.process.pid for node in cluster.nodes if node.process]
        node, before = cluster.nodes[0], served_certificate(cluster.nodes[0].http, cluster.ca)
        fresh, line = make_token("fresh")
        with client_of(cluster) as client:
            life(client, new_queue(), 1)
            for path in cluster.certs.glob("n*"):
                path.unlink()
            make_certificates(cluster.certs, "n1", "n2", "n3")
            replace(cluster.tokens, line + "\n")
            for each in cluster.nodes:
                each.send(signal.SIGHUP)
            cluster_token, cluster.token = cluster.token, fresh
            wait_until(
                lambda: served_certificate(node.http, cluster.ca) != before, "a new certificate"
            )
            assert served_certificate(node.native, cluster.ca) != before
            with pytest.raises(Forbidden):
                client.cluster(timeout=20)
        with client_of(cluster) as client:
            life(client, new_queue(), 3)
            cluster.nodes[2].kill()  # Links of renewed certificates only.
            cluster.nodes[2].start()
            cluster.wait_ready()
            life(client, new_queue(), 3)
        assert cluster_token != fresh
        assert [node.process.pid for node in cluster.nodes[:2] if node.process] == pids[:2]


def test_a_bad_renewal_changes_nothing_but_the_log(tmp_path: Path) -> None:
    with SecuredCluster(tmp_path) as cluster:
        node = cluster.nodes[0]
        before = served_certificate(node.http, cluster.ca)
        (cluster.certs / "n1.crt").write_bytes((cluster.certs / "n2.crt").read_bytes())
        replace(cluster.tokens, "garbage\n")
        node.send(signal.SIGHUP)
        wait_until(lambda: "certificates_refused" in node.log.read_text(), "the log")
        wait_until(lambda: "tokens_file_refused" in node.log.read_text(), "the log")
        assert served_certificate(node.http, cluster.ca) == before
        with client_of(cluster) as client:
            life(client, new_queue(), 1)


def secrets_of(cluster: SecuredCluster) -> dict[str, bytes]:
    """Return everything that must never be seen outside of its file."""
    found = {
        "token": cluster.token.encode(),
        "token in base64": base64.b64encode(cluster.token.encode()).rstrip(b"=")[:-2],
        "hash": token_hash(cluster.token).encode(),
        "payload": PAYLOAD,
        "result": RESULT,
    }
    for path in cluster.certs.glob("*.key"):
        for number, line in enumerate(path.read_bytes().split(b"\n")[1:-2]):
            found[f"{path.name}, line {number}"] = line
    return found


def test_no_secret_is_in_a_log_a_metric_a_status_or_a_command_line(tmp_path: Path) -> None:
    """Under load, with refusals, renewals, wrong files and a kill, at the loudest log level."""
    cluster = SecuredCluster(tmp_path, settings={"log-level": "debug"})
    secrets = secrets_of(cluster)
    seen: dict[str, bytes] = {}
    with cluster:
        stop = threading.Event()

        def load() -> None:
            with client_of(cluster, timeout=30) as client:
                while not stop.is_set():
                    life(client, "load", 5)

        loading = threading.Thread(target=load)
        loading.start()
        try:
            for asked in cluster.secured:
                asked.get("/v1/cluster", token=cluster.token + "x")
                asked.get(f"/v1/queues/{cluster.token}?{cluster.token}={cluster.token}")
            wrong = Client(cluster.addresses, token=cluster.token[:-1], tls_ca=cluster.ca)
            with wrong, pytest.raises(Forbidden):
                wrong.cluster()
            good = cluster.tokens.read_text()
            replace(cluster.tokens, f"app:{cluster.token}\n")
            for node in cluster.nodes:
                node.send(signal.SIGHUP)
            wait_until(lambda: all("tokens_file_refused" in node.log.read_text()
                                   for node in cluster.nodes), "the refusal")  # fmt: skip
            replace(cluster.tokens, good)
            cluster.wait_leader().kill()
            cluster.wait_leader()
        finally:
            stop.set()
            loading.join(60)
        assert not loading.is_alive()
        for node in cluster.nodes:
            if not node.is_running:
                node.start()
        cluster.wait_ready()
        for node in cluster.nodes:
            for path in ("/metrics", "/v1/cluster", "/readyz", "/livez", "/v1/openapi.json"):
                answer = node.get(path)
                assert answer is not None and answer[0] == 200, path
                seen[f"{node.id} {path}"] = answer[1]
            assert node.process is not None
            seen[f"{node.id} ps"] = Path(f"/proc/{node.process.pid}/cmdline").read_bytes()
        assert b"raftq_certificate_expiry_seconds" in seen["n1 /metrics"]
        assert b"raftq_authentication_failures_total" in seen["n1 /metrics"]
    for node in cluster.nodes:
        seen[f"{node.id} log"] = node.log.read_bytes()
    assert sum(map(len, seen.values())) > 10_000, "there is something to look at"
    leaks = [(where, what) for where, text in seen.items() for what, secret in secrets.items()
             if secret in text]  # fmt: skip
    assert leaks == []


def test_secrets_planted_in_a_log_would_be_found(tmp_path: Path) -> None:
    cluster = SecuredCluster(tmp_path)
    text = (cluster.certs / "n1.key").read_bytes() + cluster.token.encode()
    found = {what for what, secret in secrets_of(cluster).items() if secret in text}
    assert {"token", "n1.key, line 0", "n1.key, line 1"} <= found
