"""kubectl against the cluster of the current kubeconfig; every call has a deadline."""

import os
import shutil
import subprocess
from pathlib import Path

from shared.runtime.process.settings import exit_with_sentence

NAMESPACE = "songhe"
MANIFESTS = Path(__file__).resolve().parents[1] / "deploy" / "k8s"
CALL_SECONDS = 60.0


class KubectlFailed(Exception):
    """kubectl said no; the message is what it said."""


def program() -> str:
    """`kubectl`, or what KUBECTL names."""
    return os.environ.get("KUBECTL") or "kubectl"


def require_cluster() -> None:
    """Exit code 2 and one sentence where there is no kubectl, or no cluster that answers."""
    if shutil.which(program()) is None:
        exit_with_sentence("There is no kubectl: install it, or name it in KUBECTL.")
    try:
        kubectl("get", "--raw", "/readyz", "--request-timeout=5s")
    except KubectlFailed:
        exit_with_sentence("No cluster answers: set KUBECONFIG to the one that you mean.")


def kubectl(*arguments: str, stdin: str | None = None, seconds: float = CALL_SECONDS) -> str:
    """What kubectl prints. Raises KubectlFailed, also at the deadline."""
    try:
        done = subprocess.run(
            [program(), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise KubectlFailed(f"kubectl {arguments[0]} took longer than {seconds:g} s") from None
    if done.returncode != 0:
        raise KubectlFailed(done.stderr.strip() or done.stdout.strip())
    return done.stdout
