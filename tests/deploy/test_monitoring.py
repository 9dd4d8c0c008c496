"""Alerts, dashboard and docs/operating/monitoring.md name what a node measures, and all of it."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.certified import Authority
from tests.support.deployment import DEPLOY, ROOT, installed, load_yaml, passes
from tests.support.nodes import call, new_queue

from raftq.cli.local_cluster import LocalCluster
from raftq.protocol import errors, limits
from raftq.protocol.fields import TaskState

PROMETHEUS = DEPLOY / "prometheus"
PAGE = (ROOT / "docs" / "operating" / "monitoring.md").read_text()
METRIC = re.compile(r"\b(raftq_[a-z0-9_]+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
OF_THE_SCRAPE = {"job", "instance"}
"""Labels that Prometheus adds itself."""
Page = dict[str, set[str]]
"""Series → its labels."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """What a leader with a certificate shows after some calls."""
    folder = tmp_path_factory.mktemp("metrics")
    authority = Authority(folder / "certificates")
    certificate, key = authority.issue("n1")
    files = {"ca": authority.ca, "cert": certificate, "key": key}
    settings = {f"peer-tls-{name}": str(path) for name, path in files.items()}
    with LocalCluster(folder / "nodes", size=1, settings=settings) as cluster:
        leader = cluster.wait_leader()
        path = f"/v1/queues/{new_queue()}"
        body = {"tasks": [{"payload": "x"}]}
        assert call(leader, "POST", f"{path}/tasks", body).status == 201
        leased = call(leader, "POST", f"{path}/leases", {"worker": "w"}).json["leases"]
        assert call(leader, "POST", f"/v1/leases/{leased[0]['token']}/ack", {}).status == 200
        text = call(leader, "GET", "/metrics").body.decode()
    found: Page = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def rules() -> list[dict[str, Any]]:
    groups = load_yaml(PROMETHEUS / "alerts.yml")["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alert_expressions() -> list[str]:
    return [rule["expr"] for rule in rules()]


def dashboard() -> dict[str, Any]:
    loaded: object = json.loads((DEPLOY / "grafana" / "raftq.json").read_text())
    return cast("dict[str, Any]", loaded)


def panel_expressions() -> list[str]:
    targets = [target for panel in dashboard()["panels"] for target in panel.get("targets", [])]
    queries = [each["query"] for each in dashboard()["templating"]["list"]]
    return [*(target["expr"] for target in targets), *queries]


def selectors(expressions: Iterable[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Return (metric, label → value) of each series that PromQL expressions select."""
    for expression in expressions:
        for name, matchers in METRIC.findall(expression):
            yield name, dict(MATCHER.findall(matchers))


@pytest.mark.parametrize("source", [alert_expressions, panel_expressions])
def test_every_metric_and_label_that_is_asked_for_exists(
    source: Callable[[], list[str]], page: Page
) -> None:
    asked = list(selectors(source()))
    assert len(asked) > 10
    for name, labels in asked:
        assert name in page, f"{name} is not on the page"
        assert set(labels) <= page[name] | OF_THE_SCRAPE, (name, labels)


def test_every_metric_has_a_panel_or_an_alert(page: Page) -> None:
    used = {name for name, _ in selectors([*alert_expressions(), *panel_expressions()])}
    histogram_parts = {"raftq_request_duration_seconds_sum", "raftq_request_duration_seconds_count"}
    unused = {name for name in page if not name.endswith("_created")} - used - histogram_parts
    assert not unused


def test_every_code_and_state_that_is_asked_for_exists() -> None:
    codes = {each.code for each in vars(errors).values() if hasattr(each, "code")} | {"ok"}
    asked = list(selectors([*alert_expressions(), *panel_expressions()]))
    assert {labels["code"] for _, labels in asked if "code" in labels} <= codes
    states = {labels["state"] for _, labels in asked if "state" in labels}
    assert states and states <= {state.value for state in TaskState}


def test_the_alert_before_a_quota_knows_the_quota() -> None:
    (rule,) = (each for each in rules() if each["alert"] == "RaftqNearlyFull")
    bounds = [int(number) for number in re.findall(r"> (\d+)", rule["expr"])]
    assert bounds == [limits.TASKS_LIVE_MAX * 4 // 5, limits.PAYLOAD_BYTES_LIVE_MAX * 4 // 5]


def test_the_page_explains_every_metric_and_every_alert_and_no_other(page: Page) -> None:
    bases = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in page}
    bases -= {"raftq_requests"}  # The creation time of a counter without its `_total`.
    assert set(re.findall(r"^\| `(raftq_\w+)", PAGE, re.MULTILINE)) == bases
    assert set(re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)) == {
        each["alert"] for each in rules()
    }


def test_every_alert_says_how_urgent_it_is_and_what_is_wrong() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]


def test_panels_have_ids_and_places_of_their_own() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        taken = {
            (place["x"] + column, place["y"] + row)
            for column in range(place["w"])
            for row in range(place["h"])
        }
        assert not taken & cells and max(x for x, _ in taken) < 24, panel["title"]
        cells |= taken


def test_promtool_accepts_the_configuration_and_the_rules_fire_when_they_should() -> None:
    promtool = installed("promtool")
    passes(promtool, "check", "config", "--syntax-only", "prometheus.yml", cwd=PROMETHEUS)
    passes(promtool, "check", "rules", "--lint-fatal", "alerts.yml", cwd=PROMETHEUS)
    passes(promtool, "test", "rules", "alerts.test.yml", cwd=PROMETHEUS)
