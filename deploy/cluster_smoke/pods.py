"""Pods that the smoke test puts beside ours: the entry's image with a command of their own."""

import json
from collections.abc import Mapping, Sequence

from deploy.kubectl import NAMESPACE, kubectl

LABEL = "songhe/smoke"
IMAGE = "songhe/entry:dev"
UNPRIVILEGED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
SECONDS_MAX = 1800


def pod(
    name: str,
    command: Sequence[str],
    *,
    labels: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    program: str | None = None,
    security: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """A pod that the restricted namespace admits; `program` is a ConfigMap mounted at /program."""
    container: dict[str, object] = {
        "name": "smoke",
        "image": IMAGE,
        "command": list(command),
        "env": [{"name": key, "value": value} for key, value in (environment or {}).items()],
        "securityContext": {**UNPRIVILEGED, **(security or {})},
        "resources": {"limits": {"memory": "160Mi"}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    volumes: list[dict[str, object]] = [{"name": "tmp", "emptyDir": {}}]
    if program is not None:
        container["volumeMounts"] = [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "program", "mountPath": "/program"},
        ]
        volumes.append({"name": "program", "configMap": {"name": program}})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {LABEL: "yes", **(labels or {})},
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": SECONDS_MAX,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": volumes,
        },
    }


def may_go_anywhere() -> dict[str, object]:
    """A policy that lets our own pods out, so that only the other side's policies stop them."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "smoke", "namespace": NAMESPACE, "labels": {LABEL: "yes"}},
        "spec": {
            "podSelector": {"matchLabels": {LABEL: "yes"}},
            "policyTypes": ["Egress"],
            "egress": [{"to": [{"podSelector": {}}]}],
        },
    }


def create(*objects: Mapping[str, object]) -> None:
    """Raises KubectlFailed where the cluster refuses one."""
    kubectl(
        "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    )


def remove_all() -> None:
    """Everything that carries our label."""
    kinds = "pods,configmaps,networkpolicies"
    kubectl(
        "delete", kinds, "-n", NAMESPACE, "-l", LABEL, "--ignore-not-found", "--now", seconds=120
    )
