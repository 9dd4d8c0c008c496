"""deploy/kubernetes/: valid for the API, and set up as a quorum needs it."""

from pathlib import Path
from typing import Any

from tests.support.deployment import (
    DEPLOY,
    ROOT,
    beside_python,
    load_manifests,
    passes,
    started_with,
)

MANIFESTS = load_manifests()
STATEFUL_SET: dict[str, Any] = MANIFESTS[("StatefulSet", "raftq")]["spec"]
POD: dict[str, Any] = STATEFUL_SET["template"]["spec"]
CONTAINER: dict[str, Any] = POD["containers"][0]
LABELS = {"app.kubernetes.io/name": "raftq"}
NODES = [f"raftq-{number}" for number in range(STATEFUL_SET["replicas"])]
NAMESPACE = "tasks"


def environment(pod: str) -> dict[str, str]:
    """Return the environment of a pod as the kubelet would make it."""
    fields = {"metadata.name": pod, "metadata.namespace": NAMESPACE}
    found: dict[str, str] = {}
    for each in CONTAINER["env"]:
        source = each.get("valueFrom")
        value = fields[source["fieldRef"]["fieldPath"]] if source else each["value"]
        for name, known in found.items():
            value = value.replace(f"$({name})", known)
        found[each["name"]] = value
    return found


def test_the_manifests_are_valid_for_the_api() -> None:
    files = [str(path) for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))]
    said = passes(beside_python("kubernetes-validate"), "--strict", *files)
    assert said.count("passed for resource") == len(MANIFESTS)


def test_yamllint_has_no_complaint_about_any_yaml_file() -> None:
    passes(beside_python("yamllint"), "-s", "-c", str(DEPLOY / "yamllint.yaml"), "deploy")


def test_nodes_start_together_and_find_each_other_before_they_are_ready() -> None:
    assert STATEFUL_SET["podManagementPolicy"] == "Parallel"
    headless = MANIFESTS[("Service", STATEFUL_SET["serviceName"])]["spec"]
    assert headless["clusterIP"] == "None"
    assert headless["publishNotReadyAddresses"] is True
    assert "publishNotReadyAddresses" not in MANIFESTS[("Service", "raftq")]["spec"]


def test_a_drained_machine_takes_one_node_at_a_time() -> None:
    budget = MANIFESTS[("PodDisruptionBudget", "raftq")]["spec"]
    assert budget["maxUnavailable"] == 1
    rules = POD["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert rules[0]["topologyKey"] == "kubernetes.io/hostname"
    selectors = [
        budget["selector"]["matchLabels"],
        rules[0]["labelSelector"]["matchLabels"],
        STATEFUL_SET["selector"]["matchLabels"],
        STATEFUL_SET["template"]["metadata"]["labels"],
        *(each["spec"]["selector"] for (kind, _), each in MANIFESTS.items() if kind == "Service"),
    ]
    assert all(selector == LABELS for selector in selectors)


def test_every_pod_starts_secured_as_a_member_with_its_own_key(tmp_path: Path) -> None:
    items = POD["volumes"][1]["secret"]["items"]
    files = {each["path"]: each["key"] for each in items}
    for pod in NODES:
        config = started_with(environment(pod), tmp_path)
        assert config.node_id == pod and list(config.cluster) == NODES
        assert config.cluster[pod] == (f"{pod}.{STATEFUL_SET['serviceName']}", 7621)
        assert config.facts["native"] == f"{pod}.raftq-nodes.{NAMESPACE}.svc:7601"
        assert config.peer_tls_ca and config.client_tls_cert and config.tokens_file
        assert not config.insecure
        assert files[f"{pod}/node.key"] == f"{pod}.key"
        assert files[f"{pod}/node.crt"] == f"{pod}.crt"
        assert files[f"{pod}/ca.crt"] == "ca.crt"
    assert not any("ca.key" in each for pair in files.items() for each in pair)


def test_probes_ask_the_port_that_serves_http_and_liveness_needs_no_majority() -> None:
    ports = {each["name"]: each["containerPort"] for each in CONTAINER["ports"]}
    assert ports == {"native": 7601, "http": 7611, "peer": 7621}
    for probe, path in (("startup", "/livez"), ("liveness", "/livez"), ("readiness", "/readyz")):
        assert CONTAINER[f"{probe}Probe"]["httpGet"] == {
            "path": path, "port": "http", "scheme": "HTTPS",
        }  # fmt: skip


def test_a_pod_has_time_to_hand_over_and_no_rights_that_it_does_not_need() -> None:
    pause = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    drain_seconds = 10
    assert POD["terminationGracePeriodSeconds"] >= pause + 2 * drain_seconds
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert POD["automountServiceAccountToken"] is False
    rights = CONTAINER["securityContext"]
    assert rights["readOnlyRootFilesystem"] is True
    assert rights["allowPrivilegeEscalation"] is False
    assert rights["capabilities"] == {"drop": ["ALL"]}
    user = POD["securityContext"]["runAsUser"]
    assert f"USER {user}:{user}" in (ROOT / "deploy" / "Dockerfile").read_text()
