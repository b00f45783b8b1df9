"""What the manifests promise, one test for each promise, on what kustomize really renders."""

import importlib
from collections import Counter
from pathlib import Path

import kubernetes_validate
import pytest
from pydantic_settings import BaseSettings

from deploy.keys import cluster as cluster_keys
from deploy.tests.manifests import (
    Document,
    Manifests,
    container_of,
    labels_of,
    lets_in,
    may_connect,
    name_of,
    pod_of,
    ports_of,
    selects,
)
from devstack.keys import development as keys
from devstack.plan import ROOT
from entry.settings import EntrySettings
from sandbox.settings import SandboxSettings
from shared.catalogue import PROCESSES, SERVICES, names_of

# The one that the smoke test runs on, and the newest that the validator knows.
KUBERNETES_VERSIONS = ("1.34", "1.37")
# Comes with the Prometheus operator, not with Kubernetes.
CUSTOM_KINDS = ("ServiceMonitor",)
DATABASES = ("postgres", "redis", "kafka")


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_every_document_fits_the_schema(manifests: Manifests, version: str) -> None:
    for document in manifests.documents:
        if document["kind"] not in CUSTOM_KINDS:
            kubernetes_validate.validate(dict(document), version, strict=True)


def test_nothing_stands_there_twice(manifests: Manifests) -> None:
    found = Counter((one["kind"], name_of(one)) for one in manifests.documents)

    assert [key for key, count in found.items() if count > 1] == []


def test_the_namespace_admits_restricted_pods_only(manifests: Manifests) -> None:
    labels = manifests.named("Namespace", "songhe")["metadata"]["labels"]

    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    others = [one for one in manifests.documents if one["kind"] != "Namespace"]
    assert {one["metadata"].get("namespace") for one in others} == {"songhe"}


def test_every_pod_runs_without_rights(manifests: Manifests) -> None:
    for workload in manifests.workloads():
        spec, container = pod_of(workload)["spec"], container_of(workload)
        name = name_of(workload)
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
        assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name


def test_our_processes_cannot_write_to_their_image(manifests: Manifests) -> None:
    for workload in manifests.ours():
        context = container_of(workload)["securityContext"]
        assert context["readOnlyRootFilesystem"] is True, name_of(workload)


def test_service_accounts_carry_no_token(manifests: Manifests) -> None:
    accounts = {name_of(one): one for one in manifests.of_kind("ServiceAccount")}

    for workload in manifests.ours():
        account = accounts[pod_of(workload)["spec"]["serviceAccountName"]]
        assert account["automountServiceAccountToken"] is False


def test_every_pod_is_bounded(manifests: Manifests) -> None:
    for workload in manifests.workloads():
        resources = container_of(workload)["resources"]
        assert set(resources["requests"]) == {"cpu", "memory"}, name_of(workload)
        # No limit of processor time: it would only make a quiet machine slow.
        assert set(resources["limits"]) == {"memory"}, name_of(workload)


def test_liveness_asks_nobody_else_and_readiness_is_our_own(manifests: Manifests) -> None:
    for workload in _processes(manifests):
        container = container_of(workload)
        port = "http" if name_of(workload) in ("entry", "sandbox") else "metrics"
        live = {"path": "/health/live", "port": port}
        assert container["startupProbe"]["httpGet"] == live
        assert container["livenessProbe"]["httpGet"] == live
        assert container["readinessProbe"]["httpGet"] == {"path": "/health/ready", "port": port}


def test_a_stop_has_its_time(manifests: Manifests) -> None:
    for workload in _processes(manifests):
        grace = pod_of(workload)["spec"].get("terminationGracePeriodSeconds", 30)
        settings = manifests.settings_of(workload)
        needed = float(settings.get("SONGHE_SHUTDOWN_GRACE_SECONDS", 10))
        if "http" in ports_of(workload) and name_of(workload) != "sandbox":
            sleep = container_of(workload)["lifecycle"]["preStop"]["sleep"]["seconds"]
            assert sleep >= 5, name_of(workload)
            needed += sleep
        # Pools and the metrics port close after the components.
        assert grace >= needed + 5, name_of(workload)


def test_a_release_takes_no_pod_away_first(manifests: Manifests) -> None:
    for workload in _processes(manifests):
        strategy = workload["spec"]["strategy"]
        if name_of(workload) == "sandbox":
            # Two of it would write to one file.
            assert strategy == {"type": "Recreate"}
        else:
            assert strategy["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_what_people_wait_for_runs_twice(manifests: Manifests) -> None:
    for name in (*names_of("api"), "entry"):
        assert manifests.named("Deployment", name)["spec"]["replicas"] >= 2, name


def test_drains_take_one_pod_at_a_time_and_are_never_held_up(manifests: Manifests) -> None:
    budgets = [one["spec"] for one in manifests.of_kind("PodDisruptionBudget")]

    assert all(budget["maxUnavailable"] == 1 for budget in budgets)
    assert not any("minAvailable" in budget for budget in budgets)
    for workload in _processes(manifests):
        if name_of(workload) != "sandbox":
            found = [one for one in budgets if selects(one["selector"], labels_of(workload))]
            assert len(found) == 1, name_of(workload)


def test_pods_of_one_release_are_spread(manifests: Manifests) -> None:
    for workload in _processes(manifests):
        spread = pod_of(workload)["spec"]["topologySpreadConstraints"]
        keys = {one["topologyKey"] for one in spread}
        assert keys == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
        assert all(selects(one["labelSelector"], labels_of(workload)) for one in spread)
        assert all(one["whenUnsatisfiable"] == "ScheduleAnyway" for one in spread)


def test_jobs_end_and_make_room_for_the_next_release(manifests: Manifests) -> None:
    jobs = {name_of(one): one["spec"] for one in manifests.of_kind("Job")}

    assert set(jobs) == {*(f"{service}-migrate" for service in SERVICES), "billing-topics"}
    for name, spec in jobs.items():
        assert spec["backoffLimit"] > 0, name
        assert spec["ttlSecondsAfterFinished"] <= 3600, name
        assert spec["template"]["spec"]["restartPolicy"] == "OnFailure", name


def test_a_service_finds_its_pods_and_their_ports(manifests: Manifests) -> None:
    for service in manifests.of_kind("Service"):
        selector = {"matchLabels": service["spec"]["selector"]}
        behind = [one for one in manifests.workloads() if selects(selector, labels_of(one))]
        assert behind, name_of(service)
        for port in service["spec"]["ports"]:
            assert all(port["targetPort"] in ports_of(one) for one in behind), name_of(service)
        if name_of(service) != "metrics":
            assert len(behind) == 1, name_of(service)


def test_a_deployment_owns_its_own_pods_only(manifests: Manifests) -> None:
    for workload in manifests.of_kind("Deployment", "StatefulSet"):
        selector = workload["spec"]["selector"]
        chosen = [
            name_of(one) for one in manifests.workloads() if selects(selector, labels_of(one))
        ]
        assert chosen == [name_of(workload)]


def test_no_image_moves_under_its_tag(overlay: Manifests) -> None:
    for workload in overlay.workloads():
        name, _, tag = container_of(workload)["image"].rpartition(":")
        assert name, container_of(workload)["image"]
        assert tag != "latest", name


def test_one_release_runs_one_tag(overlay: Manifests) -> None:
    images = {container_of(workload)["image"] for workload in overlay.ours()}

    assert len({image.rpartition(":")[2] for image in images}) == 1, images


def test_the_dependencies_are_those_of_compose(dev: Manifests) -> None:
    lines = (ROOT / ".env").read_text().splitlines()
    tags = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    images = {container_of(one)["image"] for one in dev.of_kind("StatefulSet")}

    assert images == {
        f"postgres:{tags['POSTGRES_TAG']}",
        f"redis:{tags['REDIS_TAG']}",
        f"apache/kafka:{tags['KAFKA_TAG']}",
    }


class TestNetwork:
    """Default-deny in both directions; what is open is open for a reason."""

    def test_nothing_is_open_by_default(self, manifests: Manifests) -> None:
        deny = manifests.named("NetworkPolicy", "default-deny")["spec"]

        assert deny["podSelector"] == {}
        assert sorted(deny["policyTypes"]) == ["Egress", "Ingress"]
        assert "ingress" not in deny
        assert "egress" not in deny

    def test_only_the_entry_is_open_to_everybody(self, manifests: Manifests) -> None:
        open_to_all = [
            name_of(policy)
            for policy in manifests.of_kind("NetworkPolicy")
            for rule in policy["spec"].get("ingress", [])
            if not rule.get("from")
        ]
        assert open_to_all == ["entry"]

    def test_nothing_goes_everywhere(self, manifests: Manifests) -> None:
        for policy in manifests.of_kind("NetworkPolicy"):
            for rule in policy["spec"].get("egress", []):
                assert rule.get("to"), name_of(policy)
                assert rule.get("ports"), name_of(policy)

    @pytest.mark.parametrize("service", SERVICES)
    def test_the_entry_reaches_every_api(self, manifests: Manifests, service: str) -> None:
        entry = manifests.named("Deployment", "entry")
        api = manifests.named("Deployment", f"{service}-api")

        assert may_connect(manifests, entry, api, "http")

    def test_services_reach_identity_alone(self, manifests: Manifests) -> None:
        reached = {
            (name_of(origin), name_of(target))
            for origin in manifests.ours()
            for target in manifests.ours()
            if may_connect(manifests, origin, target, "http")
            if name_of(origin) not in ("entry", "sandbox") and name_of(target) != "sandbox"
        }
        assert reached == {
            ("billing-api", "identity-api"),
            ("notifier-api", "identity-api"),
            ("notifier-worker", "identity-api"),
            ("payment-api", "identity-api"),
        }

    @pytest.mark.parametrize("database", DATABASES)
    def test_dependencies_are_reached_by_those_who_use_them(
        self, dev: Manifests, database: str
    ) -> None:
        target = dev.named("StatefulSet", database)

        reached_by = {name_of(one) for one in dev.ours() if may_connect(dev, one, target, database)}

        processes = {process.name for process in PROCESSES if process.has_database}
        workers = {*names_of("worker"), *names_of("stream")}
        assert (
            reached_by
            == {
                "postgres": processes | {f"{service}-migrate" for service in SERVICES},
                "redis": {"identity-api", "payment-api", "notifier-worker"},
                "kafka": workers | {"billing-topics"},
            }[database]
        )

    def test_the_sandbox_is_called_by_who_charges_or_sends(self, dev: Manifests) -> None:
        sandbox = dev.named("Deployment", "sandbox")

        callers = {name_of(one) for one in dev.ours() if may_connect(dev, one, sandbox, "http")}

        assert callers == {"identity-api", "payment-api", "payment-worker", "notifier-worker"}

    def test_the_sandbox_calls_back_through_the_entry_alone(self, dev: Manifests) -> None:
        sandbox = dev.named("Deployment", "sandbox")

        reached = [
            (name_of(one), port)
            for one in dev.workloads()
            for port in ports_of(one)
            if may_connect(dev, sandbox, one, port)
        ]

        assert reached == [("entry", "http")]

    def test_metrics_are_for_who_carries_the_label(self, manifests: Manifests) -> None:
        scraper = {"songhe/scrapes-metrics": "yes"}
        for workload in manifests.ours():
            if "metrics" in ports_of(workload):
                assert lets_in(manifests, workload, scraper, "metrics"), name_of(workload)
                for other in manifests.workloads():
                    assert not lets_in(manifests, workload, labels_of(other), "metrics")

    def test_names_can_be_looked_up(self, manifests: Manifests) -> None:
        names = manifests.named("NetworkPolicy", "names")["spec"]

        assert names["podSelector"] == {}
        assert {entry["protocol"] for entry in names["egress"][0]["ports"]} == {"UDP", "TCP"}


class TestSettings:
    """Every process gets what it needs, and no secret stands in a file."""

    def test_no_secret_is_in_the_manifests(self, manifests: Manifests) -> None:
        assert manifests.of_kind("Secret") == []
        for workload in manifests.workloads():
            for entry in container_of(workload).get("env", []):
                if "PASSWORD" in entry["name"] or "DATABASE_URL" in entry["name"]:
                    assert "value" not in entry, name_of(workload)

    def test_cluster_keys_makes_what_the_dev_overlay_names(
        self, dev: Manifests, tmp_path: Path
    ) -> None:
        keys.create_missing(tmp_path)

        assert dev.secrets_named() == set(cluster_keys.secrets(tmp_path))

    def test_prod_names_no_secret_that_dev_does_not_have(
        self, dev: Manifests, prod: Manifests
    ) -> None:
        assert prod.secrets_named() <= dev.secrets_named()

    def test_every_setting_is_known_and_none_is_missing(self, dev: Manifests) -> None:
        for workload in dev.ours():
            known = _variables(_settings_class(workload))
            given = set(dev.settings_of(workload)) - {"MALLOC_ARENA_MAX"}
            required = {name for name, needed in known.items() if needed}
            assert required <= given, f"{name_of(workload)}: {required - given}"

    def test_no_setting_is_given_that_nobody_reads(self, dev: Manifests) -> None:
        known: set[str] = {"MALLOC_ARENA_MAX"}
        for workload in dev.ours():
            known |= set(_variables(_settings_class(workload)))
        given = {name for workload in dev.ours() for name in dev.settings_of(workload)}

        assert given <= known, given - known

    def test_production_is_told_that_it_is(self, prod: Manifests, dev: Manifests) -> None:
        for manifests, environment in ((prod, "production"), (dev, "development")):
            for service in SERVICES:
                api = manifests.named("Deployment", f"{service}-api")
                assert manifests.settings_of(api)["SONGHE_ENVIRONMENT"] == environment

    def test_production_has_no_sandbox(self, prod: Manifests) -> None:
        assert "sandbox" not in {name_of(one) for one in prod.documents}
        for workload in prod.ours():
            assert "sandbox" not in str(prod.settings_of(workload))

    def test_a_changed_setting_restarts_its_pods(self, manifests: Manifests) -> None:
        """The name of a ConfigMap carries a hash of what is in it."""
        for workload in manifests.ours():
            for source in container_of(workload).get("envFrom", []):
                name, _, digest = source["configMapRef"]["name"].rpartition("-")
                assert len(digest) == 10, name


class TestMonitoring:
    def test_pods_tell_prometheus_where_to_ask(self, manifests: Manifests) -> None:
        for workload in _service_processes(manifests):
            annotations = pod_of(workload)["metadata"]["annotations"]
            assert annotations["prometheus.io/scrape"] == "true"
            assert int(annotations["prometheus.io/port"]) == ports_of(workload)["metrics"]

    def test_the_monitor_finds_every_process(self, rendered: dict[str, Manifests]) -> None:
        manifests = rendered["dev-with-monitoring"]
        monitor = manifests.named("ServiceMonitor", "songhe")["spec"]
        service = manifests.named("Service", "metrics")

        assert selects(monitor["selector"], service["metadata"]["labels"])
        assert [one["port"] for one in monitor["endpoints"]] == ["metrics"]
        selector = {"matchLabels": service["spec"]["selector"]}
        found = {name_of(one) for one in manifests.ours() if selects(selector, labels_of(one))}
        assert found == {name_of(one) for one in _service_processes(manifests)}


def _processes(manifests: Manifests) -> list[Document]:
    return [one for one in manifests.ours() if one["kind"] == "Deployment"]


def _service_processes(manifests: Manifests) -> list[Document]:
    names = set(names_of())
    found = [one for one in _processes(manifests) if name_of(one) in names]
    assert len(found) == len(names)
    return found


def _settings_class(workload: Document) -> type[BaseSettings]:
    name, _, process = name_of(workload).rpartition("-")
    if name_of(workload) == "entry":
        return EntrySettings
    if name_of(workload) == "sandbox":
        return SandboxSettings
    module = importlib.import_module(f"services.{name}.settings")
    general = getattr(module, f"{name.capitalize()}Settings")
    found: type[BaseSettings] = getattr(module, f"{process.capitalize()}Settings", general)
    return found


def _variables(settings: type[BaseSettings]) -> dict[str, bool]:
    """Variable → whether it must be given."""
    prefix = settings.model_config.get("env_prefix", "")
    return {
        str(field.validation_alias or f"{prefix}{name}".upper()): field.is_required()
        for name, field in settings.model_fields.items()
    }
