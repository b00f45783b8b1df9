"""Rules, scrape targets and the dashboard fit the code and each other; needs no promtool.

What a rule does is tested by promtool: `make rules`.
"""

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from prometheus_client import Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase

from shared.runtime.ground import metrics

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "deploy" / "observability"
DASHBOARD = FOLDER / "grafana" / "dashboards" / "overview.json"
SERVICES = ("identity", "billing", "payment", "notifier")
PROCESSES = {(service, process) for service in SERVICES for process in ("api", "worker")}
# The scrape configuration sets these, not the code.
TARGET_LABELS = {"service", "process", "instance", "job"}

Rule = dict[str, Any]


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


RULES: list[Rule] = [
    rule for group in load(FOLDER / "rules" / "songhe.yml")["groups"] for rule in group["rules"]
]
PANELS: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
EXPRESSIONS = [rule["expr"] for rule in RULES] + QUERIES


def name_of(rule: Rule) -> str:
    return f"{rule['alert']}-{rule['labels']['severity']}"


every_alert = pytest.mark.parametrize("rule", RULES, ids=name_of)
every_expression = pytest.mark.parametrize("expression", EXPRESSIONS)


def known_series() -> dict[str, set[str]]:
    """Every time series that the code can tell, with its own labels."""
    for service in ("identity", "billing", "payment", "notifier"):
        if (ROOT / "services" / service / "adapters" / "metrics.py").exists():
            importlib.import_module(f"services.{service}.adapters.metrics")
    # The registry offers no public way to the metrics that have no value yet.
    collectors = metrics.REGISTRY._collector_to_names
    series: dict[str, set[str]] = {}
    for collector in collectors:
        if isinstance(collector, MetricWrapperBase):
            series |= _series_of(collector)
    return series


def _series_of(metric: MetricWrapperBase) -> dict[str, set[str]]:
    name, labels = metric._name, set(metric._labelnames)
    if isinstance(metric, Counter):
        return {f"{name}_total": labels}
    if isinstance(metric, Histogram):
        return {
            f"{name}_count": labels,
            f"{name}_sum": labels,
            f"{name}_bucket": labels | {"le"},
        }
    return {name: labels}


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric that is read, with the labels that its matchers name."""
    for name, matchers in re.findall(r"\b(songhe_\w+)(?:\{([^}]*)\})?", expression):
        yield name, set(re.findall(r"(\w+)\s*[=!]", matchers))


@every_expression
def test_every_metric_that_is_read_exists_with_its_labels(expression: str) -> None:
    series = known_series()

    for name, labels in selectors(expression):
        assert name in series
        assert labels <= series[name] | TARGET_LABELS


@every_expression
def test_what_is_grouped_by_is_a_label(expression: str) -> None:
    series = known_series()
    grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", expression))))

    known = set[str]().union(*(series[name] for name, _ in selectors(expression)))
    assert grouped <= known | TARGET_LABELS | {"alertname", "severity"}


@every_alert
def test_every_alert_says_what_it_means_and_whom_it_calls(rule: Rule) -> None:
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert all(
        text.endswith(".") for name, text in rule["annotations"].items() if name != "runbook"
    )


@every_alert
def test_every_alert_has_its_section_in_the_documents(rule: Rule) -> None:
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^## (\w+)$", (ROOT / page).read_text(), re.MULTILINE)

    assert anchor == rule["alert"].lower()
    assert rule["alert"] in headings


def test_every_section_belongs_to_an_alert() -> None:
    text = (ROOT / "docs" / "alerts.md").read_text()

    assert set(re.findall(r"^## (\w+)$", text, re.MULTILINE)) == {rule["alert"] for rule in RULES}


@every_alert
def test_every_alert_has_a_case_where_it_fires_and_one_where_it_is_quiet(rule: Rule) -> None:
    cases = [set(case) for case in firing_cases(rule["alert"])]
    severity = rule["labels"]["severity"]

    assert any(severity in case for case in cases)
    assert any(severity not in case for case in cases)


def firing_cases(alert: str) -> Iterator[list[str]]:
    """Per look at this alert in the unit tests: the severities that fire."""
    for test in load(FOLDER / "rules" / "songhe_test.yml")["tests"]:
        for look in test.get("promql_expr_test", ()):
            matcher = re.search(r'alertname=~?"([^"]*)"', look["expr"])
            assert matcher, "looks at no alert"
            if alert in matcher[1].split("|"):
                yield re.findall(r'severity="(\w+)"', str(look["exp_samples"]))


def test_a_missing_process_is_noticed_for_every_process() -> None:
    (rule,) = [rule for rule in RULES if rule["alert"] == "ProcessMissing"]
    named = re.findall(r'absent\(up\{service="(\w+)", process="(\w+)"\}\)', rule["expr"])

    assert set(named) == PROCESSES


def test_a_missing_relay_is_noticed_for_every_service_that_has_one() -> None:
    (rule,) = [rule for rule in RULES if rule["alert"] == "NoRelay"]
    with_relay = [
        service
        for service in SERVICES
        if "relay = Relay(" in (ROOT / "services" / service / "wiring" / "worker.py").read_text()
    ]

    assert f'service=~"{"|".join(with_relay)}"' in rule["expr"]


def test_every_process_of_compose_is_scraped_where_it_serves_its_metrics() -> None:
    compose = load(ROOT / "docker-compose.yml")
    port = compose["x-service"]["environment"]["SONGHE_METRICS_PORT"]
    jobs = load(FOLDER / "prometheus.yml")["scrape_configs"]
    targets = {
        target: (entry["labels"]["service"], entry["labels"]["process"])
        for job in jobs
        for entry in job["static_configs"]
        for target in entry["targets"]
    }

    for service, process in PROCESSES:
        assert targets.pop(f"{service}-{process}:{port}") == (service, process)
    assert set(targets) == {"localhost:9090", "alertmanager:9093"}
    assert {f"{service}-{process}" for service, process in PROCESSES} <= set(compose["services"])


def test_kubernetes_gives_the_same_labels() -> None:
    monitor = load(ROOT / "deploy" / "k8s" / "components" / "monitoring" / "service-monitor.yaml")

    labels = {
        relabeling["targetLabel"]: relabeling["sourceLabels"]
        for endpoint in monitor["spec"]["endpoints"]
        for relabeling in endpoint["relabelings"]
    }
    assert labels["service"] == ["__meta_kubernetes_pod_label_app_kubernetes_io_name"]
    assert labels["process"] == ["__meta_kubernetes_pod_label_app_kubernetes_io_component"]


def test_alerts_are_routed_and_no_address_is_in_the_file() -> None:
    manager = load(FOLDER / "alertmanager.yml")

    receivers = {receiver["name"] for receiver in manager["receivers"]}
    assert {route["receiver"] for route in manager["route"]["routes"]} <= receivers
    routed = {matcher for route in manager["route"]["routes"] for matcher in route["matchers"]}
    assert routed == {'severity="page"', 'severity="ticket"'}
    assert all(set(receiver) == {"name"} for receiver in manager["receivers"])
    assert "://" not in (FOLDER / "alertmanager.yml").read_text()


def test_every_panel_has_a_title_a_unit_a_meaning_and_the_provisioned_source() -> None:
    sources = load(FOLDER / "grafana" / "provisioning" / "datasources" / "prometheus.yml")
    (uid,) = [source["uid"] for source in sources["datasources"]]

    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == uid
        assert panel["targets"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == uid
            assert target["legendFormat"]
            assert target["refId"]


def test_panels_lie_on_the_grid_and_over_no_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = cast(dict[str, int], panel["gridPos"])
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
