"""deploy/compose.yaml says what docs/operating/deploying.md promises."""

import re
from pathlib import Path
from typing import Any

import pytest
from tests.support.deployment import DEPLOY, installed, load_yaml, passes, started_with

from raftq.node.settings import SETTINGS

COMPOSE = load_yaml(DEPLOY / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
NODES = ("n1", "n2", "n3")
CLIENTS = ("raftq", "worker", "producer")
CLIENT_VARIABLES = {"RAFTQ_ADDRESSES", "RAFTQ_TLS_CA", "RAFTQ_TOKEN_FILE"}


def seconds(text: str) -> float:
    """Return a compose duration, which must be whole seconds."""
    assert text.endswith("s")
    return float(text.removesuffix("s"))


def secret_files(service: str) -> dict[str, str]:
    """Return path in the container → file of each secret of a service."""
    return {
        f"/run/secrets/{each['target']}": COMPOSE["secrets"][each["source"]]["file"]
        for each in SERVICES[service]["secrets"]
    }


@pytest.mark.parametrize("node", NODES)
def test_a_node_is_watched_restarted_and_given_time_to_stop(node: str) -> None:
    service = SERVICES[node]
    assert service["healthcheck"]["test"] == ["CMD", "raftq", "node", "ready"]
    assert service["restart"] == "unless-stopped"
    assert service["init"] is True
    (drain,) = (each for each in SETTINGS if each.key == "drain_timeout_ms")
    assert seconds(service["stop_grace_period"]) * 1_000 >= 2 * int(drain.default or "0")


@pytest.mark.parametrize("node", NODES)
def test_a_node_has_a_volume_and_ports_of_its_own(node: str) -> None:
    assert SERVICES[node]["volumes"] == [f"{node}:/var/lib/raftq"]
    assert node in COMPOSE["volumes"]
    published = [port for each in NODES for port in SERVICES[each]["ports"]]
    assert len(set(published)) == len(published) == 2 * len(NODES)
    assert all(port.startswith("${RAFTQ_PUBLISH:-127.0.0.1}:") for port in published)


@pytest.mark.parametrize("node", NODES)
def test_a_node_starts_secured_with_its_environment(node: str, tmp_path: Path) -> None:
    environment = {key: str(value) for key, value in SERVICES[node]["environment"].items()}
    config = started_with(environment, tmp_path)
    assert config.node_id == node and set(config.cluster) == set(NODES)
    assert not config.insecure
    assert config.peer_tls_ca and config.client_tls_cert and config.tokens_file
    assert config.facts == {"native": f"{node}:7601", "http": f"{node}:7611"}
    known = {each.variable for each in SETTINGS} | CLIENT_VARIABLES
    assert set(environment) <= known


@pytest.mark.parametrize("service", (*NODES, *CLIENTS))
def test_every_secret_that_a_service_is_told_of_is_mounted(service: str) -> None:
    told = {
        value for value in SERVICES[service]["environment"].values()
        if str(value).startswith("/run/secrets/")
    }  # fmt: skip
    assert told == set(secret_files(service))


@pytest.mark.parametrize("node", NODES)
def test_a_node_gets_its_own_key_and_no_other(node: str) -> None:
    files = secret_files(node)
    assert files["/run/secrets/node.key"] == f"./secrets/{node}.key"
    assert sum(file.endswith(".key") for file in files.values()) == 1


def test_make_secrets_makes_every_file_that_compose_mounts() -> None:
    script = (DEPLOY / "make-secrets.sh").read_text()
    nodes, names = re.findall(r"^for \w+ in (.*); do$", script, re.MULTILINE)
    made = {"ca.crt", "tokens", *(f"{name}.token" for name in names.split())}
    made |= {f"{node}.{kind}" for node in nodes.split() for kind in ("crt", "key")}
    mounted = {Path(each["file"]).name for each in COMPOSE["secrets"].values()}
    assert mounted == made


@pytest.mark.parametrize("service", [*NODES, *CLIENTS, "secrets"])
def test_a_container_has_no_rights_that_it_does_not_need(service: str) -> None:
    given = SERVICES[service]
    assert given["read_only"] is True
    assert given["cap_drop"] == ["ALL"]
    assert given["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in given and "cap_add" not in given


def test_only_nodes_run_unless_a_profile_is_asked_for() -> None:
    assert {name for name, each in SERVICES.items() if "profiles" not in each} == set(NODES)


def test_the_example_program_is_where_compose_looks_for_it() -> None:
    for role in ("worker", "producer"):
        file, inside, _ = SERVICES[role]["volumes"][0].split(":")
        assert SERVICES[role]["command"] == ["python3", inside, role]
        assert (DEPLOY / file).is_file()


def test_docker_compose_accepts_the_file() -> None:
    passes(installed("docker-compose"), "config", "--quiet", cwd=DEPLOY)
