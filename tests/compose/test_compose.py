"""Compose on a real Docker engine: started, hurt under load, taken away.

Not part of `make test`: `make compose-test` runs it, as root. Where no engine can run it is
skipped with the reason.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest
from tests.support.compose_project import NODES, ComposeProject, patiently
from tests.support.docker_engine import CannotRun, DockerEngine

from raftq.protocol.credentials import new_token

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]
TASKS = 3_000
PACE_MS = 8
HURT_AFTER = 400
"""Accepted tasks after which the load is disturbed."""
LOAD_SECONDS = 180.0
NETWORK = "raftq_default"
IMAGE = "raftq:latest"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Generator[DockerEngine]:
    own = DockerEngine(tmp_path_factory.mktemp("docker") / "engine")
    try:
        own.__enter__()
    except CannotRun as reason:
        pytest.skip(f"no Docker engine here: {reason}")
    with own_end(own):
        yield own


@contextmanager
def own_end(engine: DockerEngine) -> Generator[None]:
    """End the engine, and prove that nothing of it is left."""
    try:
        yield
    finally:
        engine.__exit__()
    assert engine.leftovers() == []


@pytest.fixture(scope="module")
def project(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> ComposeProject:
    own = ComposeProject(engine, tmp_path_factory.mktemp("project"))
    own.build()
    own.compose("up", "--detach")
    own.wait_healthy()
    return own


@pytest.fixture
def whole(project: ComposeProject) -> ComposeProject:
    """The project with every node healthy, and no example running."""
    project.compose("rm", "--stop", "--force", "producer", "worker")
    project.wait_healthy()
    return project


def counts(project: ComposeProject) -> dict[str, int]:
    """Return the example queue's counts, with `enqueued`; there is no such queue to begin with."""
    for queue in project.raftq("queue", "list")["queues"]:
        if queue["queue"] == "checksums":
            return {**queue["counts"], "enqueued": queue["enqueued"]}
    return {"enqueued": 0, "done": 0}


def under_load(project: ComposeProject, hurt: Callable[[], None]) -> None:
    """Disturb the cluster while the example runs; then prove that nothing is lost or doubled."""
    before = counts(project)["enqueued"]
    project.engine.environment.update(TASKS=str(TASKS), PACE_MS=str(PACE_MS))
    project.compose("up", "--detach", "--scale", "worker=2", "worker", "producer")
    producer = project.container("producer")
    patiently(lambda: counts(project)["enqueued"] >= before + HURT_AFTER, "load")
    hurt()
    assert counts(project)["enqueued"] < before + TASKS, "the load was over too early"
    code = project.engine.docker("wait", producer, timeout=LOAD_SECONDS)
    said = project.engine.docker("logs", producer)
    print(said)
    assert code == "0", said
    assert f"tasks {TASKS}, accepted {TASKS}, right {TASKS}, changed 0" in said
    after = counts(project)
    assert after["enqueued"] == after["done"] == before + TASKS
    assert sum(after.values()) == 2 * after["done"], f"tasks in another state: {after}"


def test_up_gives_healthy_nodes_and_a_status_with_a_leader(whole: ComposeProject) -> None:
    status = whole.raftq("cluster", "status")
    assert status["leader"] in NODES
    assert [node["id"] for node in status["nodes"]] == list(NODES)
    assert all(node["reachable"] for node in status["nodes"])
    inside = whole.compose("run", "--rm", "-T", "raftq", "cluster", "status")
    assert f"leader         {status['leader']}" in inside


def test_nobody_is_let_in_without_token_or_tls(whole: ComposeProject) -> None:
    forged = whole.secrets / "forged.token"
    forged.write_text(new_token())
    for token, ca in (("", "ca.crt"), ("forged.token", "ca.crt"), ("operator.token", "")):
        refused = whole.try_raftq("queue", "list", "--timeout", "2s", token=token, ca=ca)
        assert refused.returncode != 0 and not refused.stdout, (token, ca, refused)
    assert whole.try_raftq("queue", "list").returncode == 0


def test_no_secret_reaches_a_log_or_an_environment(whole: ComposeProject) -> None:
    said = whole.compose("logs") + "".join(whole.inspect(node, "{{json .}}") for node in NODES)
    for name in ("operator", "example", "prometheus"):
        assert (whole.secrets / f"{name}.token").read_text().strip() not in said
    assert "PRIVATE KEY" not in said


def test_a_node_runs_as_nobody_special_on_a_read_only_root(whole: ComposeProject) -> None:
    assert whole.inspect("n1", "{{.Config.User}}") == "10001:10001"
    assert whole.inspect("n1", "{{.HostConfig.ReadonlyRootfs}}") == "true"
    assert whole.inspect("n1", "{{.Config.StopSignal}}") == "SIGTERM"
    assert whole.compose("exec", "-T", "n1", "id", "-u") == "10001"
    rights = whole.compose("exec", "-T", "n1", "grep", "CapEff", "/proc/self/status")
    assert int(rights.split()[1], 16) == 0
    pip = "import importlib.util as u, sys; sys.exit(u.find_spec('pip') is not None)"
    whole.compose("exec", "-T", "n1", "python3", "-c", pip)


def test_sigkill_of_the_leaders_container_loses_nothing_and_it_comes_back(
    whole: ComposeProject,
) -> None:
    def kill_leader() -> None:
        leader = whole.leader()
        begun = whole.inspect(leader, "{{.State.StartedAt}}")
        whole.kill(leader)
        patiently(lambda: whole.leader_now() not in (None, leader), "another leader")
        patiently(
            lambda: whole.inspect(leader, "{{.State.StartedAt}}") != begun,
            "the restart policy",
        )

    under_load(whole, kill_leader)
    whole.wait_healthy()


def test_a_leader_cut_off_from_the_network_loses_nothing_and_is_found_at_another_address(
    whole: ComposeProject,
) -> None:
    squatters: list[str] = []

    def cut_leader_off() -> None:
        leader = whole.leader()
        container, docker = whole.container(leader), whole.engine.docker
        address = whole.inspect(leader, f"{{{{.NetworkSettings.Networks.{NETWORK}.IPAddress}}}}")
        docker("network", "disconnect", NETWORK, container)
        patiently(lambda: not whole.is_healthy(leader), "an unhealthy node")
        patiently(lambda: whole.leader_now() not in (None, leader), "another leader")
        squatters.append(docker("run", "--detach", "--network", NETWORK, IMAGE, "sleep", "600"))
        docker("network", "connect", "--alias", leader, NETWORK, container)
        moved = whole.inspect(leader, f"{{{{.NetworkSettings.Networks.{NETWORK}.IPAddress}}}}")
        assert moved != address, "this proves nothing if the address stays"
        patiently(lambda: whole.is_healthy(leader), "the node's return")

    try:
        under_load(whole, cut_leader_off)
    finally:
        for squatter in squatters:
            whole.engine.docker("rm", "--force", "--volumes", squatter)


def test_stopping_the_leader_hands_over_and_ends_cleanly(whole: ComposeProject) -> None:
    def stop_leader() -> None:
        leader = whole.leader()
        whole.compose("stop", leader)
        assert whole.inspect(leader, "{{.State.ExitCode}}") == "0"
        assert whole.leader() != leader
        whole.compose("start", leader)

    under_load(whole, stop_leader)


def test_down_with_volumes_leaves_nothing(whole: ComposeProject) -> None:
    whole.compose("up", "--detach", "worker")
    whole.compose("down", "--volumes")
    docker = whole.engine.docker
    assert docker("ps", "--all", "--quiet") == ""
    assert docker("volume", "ls", "--quiet") == ""
    names = docker("network", "ls", "--format", "{{.Name}}").split()
    assert sorted(names) == ["bridge", "host", "none"]
