"""Rendered manifests, and questions that the policy tests ask them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Document = Mapping[str, Any]
WORKLOADS = ("Deployment", "StatefulSet", "Job")


@dataclass(frozen=True)
class Manifests:
    """Everything that one overlay applies."""

    name: str
    documents: tuple[Document, ...]

    @classmethod
    def read(cls, path: Path) -> "Manifests":
        return cls(path.stem, tuple(yaml.safe_load_all(path.read_text())))

    def of_kind(self, *kinds: str) -> list[Document]:
        return [document for document in self.documents if document["kind"] in kinds]

    def named(self, kind: str, name: str) -> Document:
        found = [one for one in self.of_kind(kind) if name_of(one) == name]
        assert len(found) == 1, f"{self.name} has {len(found)} {kind} {name}"
        return found[0]

    def workloads(self) -> list[Document]:
        return self.of_kind(*WORKLOADS)

    def ours(self) -> list[Document]:
        """Workloads that run our own images."""
        return [one for one in self.workloads() if container_of(one)["name"] == "process"]

    def settings_of(self, workload: Document) -> dict[str, str]:
        """What stands in the ConfigMaps and plainly in the workload, by variable."""
        container = container_of(workload)
        found: dict[str, str] = {}
        for source in container.get("envFrom", []):
            if "configMapRef" in source:
                found |= self.named("ConfigMap", source["configMapRef"]["name"])["data"]
        for entry in container.get("env", []):
            found[entry["name"]] = str(entry.get("value", ""))
        return found

    def secrets_named(self) -> set[str]:
        return {secret for workload in self.workloads() for secret in _secrets_of(workload)}


def name_of(document: Document) -> str:
    return str(document["metadata"]["name"])


def pod_of(workload: Document) -> Document:
    """The template: metadata and spec of its pods."""
    template: Document = workload["spec"]["template"]
    return template


def container_of(workload: Document) -> Document:
    containers = pod_of(workload)["spec"]["containers"]
    assert len(containers) == 1, "one process per pod"
    container: Document = containers[0]
    return container


def labels_of(workload: Document) -> dict[str, str]:
    return dict(pod_of(workload)["metadata"]["labels"])


def selects(selector: Document, labels: Mapping[str, str]) -> bool:
    """Whether a label selector chooses a pod with these labels."""
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "Exists", "only Exists is used here"
        if expression["key"] not in labels:
            return False
    return True


def ports_of(workload: Document) -> dict[str, int]:
    return {one["name"]: one["containerPort"] for one in container_of(workload).get("ports", [])}


def may_connect(manifests: Manifests, origin: Document, target: Document, port: str) -> bool:
    """Whether the policies of both sides let `origin`'s pods open this port of `target`'s."""
    return _is_let(manifests, "egress", origin, target, port) and _is_let(
        manifests, "ingress", target, origin, port
    )


def lets_in(manifests: Manifests, target: Document, labels: Mapping[str, str], port: str) -> bool:
    """Whether `target` lets in a pod of this namespace with these labels."""
    return any(
        _names_port(rule, port, target) and _names_peer(rule.get("from"), labels)
        for policy in _policies(manifests, "ingress", labels_of(target))
        for rule in policy["spec"].get("ingress", [])
    )


def _is_let(
    manifests: Manifests, direction: str, subject: Document, peer: Document, port: str
) -> bool:
    # The port is always one of the pod that is called.
    called = peer if direction == "egress" else subject
    key = "to" if direction == "egress" else "from"
    return any(
        _names_port(rule, port, called) and _names_peer(rule.get(key), labels_of(peer))
        for policy in _policies(manifests, direction, labels_of(subject))
        for rule in policy["spec"].get(direction, [])
    )


def _policies(
    manifests: Manifests, direction: str, labels: Mapping[str, str]
) -> Iterator[Document]:
    for policy in manifests.of_kind("NetworkPolicy"):
        applies = direction.capitalize() in policy["spec"]["policyTypes"]
        if applies and selects(policy["spec"]["podSelector"], labels):
            yield policy


def _names_port(rule: Document, port: str, called: Document) -> bool:
    if "ports" not in rule:
        return True
    number = ports_of(called).get(port)
    return any(entry["port"] in (port, number) for entry in rule["ports"])


def _names_peer(peers: list[Document] | None, labels: Mapping[str, str]) -> bool:
    """No list of peers names everybody; other namespaces and addresses are not pods of ours."""
    if peers is None:
        return True
    return any(
        "podSelector" in peer
        and "namespaceSelector" not in peer
        and selects(peer["podSelector"], labels)
        for peer in peers
    )


def _secrets_of(workload: Document) -> Iterator[str]:
    container = container_of(workload)
    for entry in container.get("env", []):
        if "secretKeyRef" in entry.get("valueFrom", {}):
            yield entry["valueFrom"]["secretKeyRef"]["name"]
    for source in container.get("envFrom", []):
        if "secretRef" in source:
            yield source["secretRef"]["name"]
    for volume in pod_of(workload)["spec"].get("volumes", []):
        if "secret" in volume:
            yield volume["secret"]["secretName"]
