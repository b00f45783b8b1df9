"""`make cluster-smoke`: the dev overlay on the current kubeconfig's cluster, proven step by step.

Exit codes: 0 everything held, 1 something did not (one sentence), 2 no cluster.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deploy.cluster_smoke import pods
from deploy.cluster_smoke.forward import forwarded
from deploy.keys.cluster import create_secrets
from deploy.kubectl import MANIFESTS, NAMESPACE, KubectlFailed, kubectl, require_cluster
from devstack.plan import ROOT
from shared.catalogue import SERVICES, names_of

OVERLAY = MANIFESTS / "overlays" / "dev"
WALK = ROOT / "deploy" / "walk.sh"
READY_SECONDS = 300.0
WALK_SECONDS = 180.0
ROLLOUT_SECONDS = 180.0
LOAD_SECONDS = 300.0
STOP_LOAD = "import os, signal; os.kill(1, signal.SIGTERM)"
# A new pod is open until the node has heard of the policies for it.
POLICY_SECONDS = 5.0
DEPLOYMENTS = (
    *names_of(),
    "entry",
)
MIGRATIONS = tuple(f"{name}-migrate" for name in SERVICES)


class Broken(Exception):
    """A promise that did not hold; one sentence."""


def main() -> int:
    require_cluster()
    started = time.monotonic()
    try:
        prepare()
        apply_and_wait()
        with ExitStack() as forwards:
            entry = forwards.enter_context(forwarded("svc/entry", 8000))
            sandbox = forwards.enter_context(forwarded("svc/sandbox", 8000))
            walk(entry, sandbox)
            kill_pods_during_a_walk(entry, sandbox)
        restart_everything_under_load()
        network_policies_hold()
        databases_refuse_strangers()
        namespace_refuses_privileges()
    except (Broken, KubectlFailed) as error:
        sys.stderr.write(f"BROKEN: {error}\n")
        return 1
    finally:
        pods.remove_all()
    _say(f"everything held, {time.monotonic() - started:.0f} s")
    return 0


def prepare() -> None:
    create_secrets()
    pods.remove_all()
    pods.create(pods.may_go_anywhere())


def apply_and_wait() -> None:
    with _step("apply the dev overlay"):
        # A finished Job keeps its pod's template; a changed one needs a new Job.
        kubectl("delete", "jobs", "--all", "-n", NAMESPACE, "--ignore-not-found", seconds=120)
        kubectl("apply", "-k", str(OVERLAY), seconds=120)
    with _step("Jobs complete"):
        names = [f"job/{name}" for name in (*MIGRATIONS, "billing-topics")]
        _wait("--for=condition=complete", *names)
    with _step("every Deployment is ready"):
        _wait("--for=condition=available", "deployments", "--all")
        for name in (*DEPLOYMENTS, "sandbox"):
            _until_rolled_out(name)


def walk(entry: str, sandbox: str) -> None:
    with _step("the README's walk through the entry"):
        _finish_walk(_start_walk(entry, sandbox))


def kill_pods_during_a_walk(entry: str, sandbox: str) -> None:
    for victim in ("billing-api", "payment-worker", "billing-worker"):
        with _step(f"a walk while all pods of {victim} are killed"):
            walking = _start_walk(entry, sandbox)
            name, _, process = victim.rpartition("-")
            selector = f"app.kubernetes.io/name={name},app.kubernetes.io/component={process}"
            kubectl(
                "delete", "pods", "-n", NAMESPACE, "-l", selector, "--grace-period=0", "--force"
            )
            _finish_walk(walking)
            _until_rolled_out(victim)


def restart_everything_under_load() -> None:
    program = Path(__file__).with_name("load.py")
    pods.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "smoke-load",
                "namespace": NAMESPACE,
                "labels": {pods.LABEL: "yes"},
            },
            "data": {"load.py": program.read_text()},
        },
        pods.pod(
            "smoke-load",
            ["python", "/program/load.py"],
            labels={"songhe/reaches-sms": "yes"},
            environment={"ENTRY": "http://entry:8000", "SANDBOX": "http://sandbox:8000"},
            program="smoke-load",
        ),
    )
    _wait("--for=condition=ready", "pod/smoke-load")
    for name in DEPLOYMENTS:
        with _step(f"restart {name} under load"):
            kubectl("rollout", "restart", f"deployment/{name}", "-n", NAMESPACE)
            _until_rolled_out(name)
    with _step("no request failed, no event was lost"):
        kubectl("exec", "smoke-load", "-n", NAMESPACE, "--", "python", "-c", STOP_LOAD)
        _until(
            lambda: _phase("smoke-load") in ("Succeeded", "Failed"), LOAD_SECONDS, "the load ends"
        )
        log = kubectl("logs", "smoke-load", "-n", NAMESPACE)
    _say(f"     {log.strip().splitlines()[-1] if log.strip() else 'no output'}")
    if _phase("smoke-load") != "Succeeded":
        raise Broken("the load saw failures, see the line above")


def network_policies_hold() -> None:
    with _step("network policies hold"):
        _expect("sandbox", "postgres", 5432, is_open=False)
        _expect("billing-api", "payment-api", 8000, is_open=False)
        _expect("billing-api", "kafka", 9092, is_open=False)
        _expect("entry", "postgres", 5432, is_open=False)
        # And what they allow is open: else the lines above prove nothing.
        _expect("billing-api", "postgres", 5432, is_open=True)
        _expect("entry", "payment-api", 8000, is_open=True)
        _expect("billing-worker", "kafka", 9092, is_open=True)
    with _step("only the scrape label reaches metrics"):
        address = _pod_address("billing-api")
        ask = _ask(address, 9000)
        pods.create(
            pods.pod("smoke-stranger", ask, labels={"songhe/reaches-apis": "yes"}),
            pods.pod("smoke-scraper", ask, labels={"songhe/scrapes-metrics": "yes"}),
        )
        for name, expected in (("smoke-stranger", "Failed"), ("smoke-scraper", "Succeeded")):
            _until(lambda name=name: _phase(name) in ("Succeeded", "Failed"), 60, f"{name} ends")  # type: ignore[misc]
            if _phase(name) != expected:
                raise Broken(f"{name} should have {expected.lower()}, but {_phase(name).lower()}")


def databases_refuse_strangers() -> None:
    program = (
        "import os, psycopg; "
        "url = os.environ['SONGHE_DATABASE_URL'].replace('+asyncpg', ''); "
        "psycopg.connect(url.rpartition('/')[0] + '/songhe_payment', connect_timeout=5)"
    )
    with _step("billing's role is refused by payment's database"):
        try:
            _execute("billing-worker", program)
        except KubectlFailed as error:
            if "permission denied for database" not in str(error):
                raise
        else:
            raise Broken("billing's role entered payment's database")


def namespace_refuses_privileges() -> None:
    with _step("the namespace refuses a privileged variant"):
        try:
            pods.create(
                pods.pod(
                    "smoke-privileged",
                    ["true"],
                    security={"privileged": True, "allowPrivilegeEscalation": True},
                )
            )
        except KubectlFailed as error:
            if "violates PodSecurity" not in str(error):
                raise
        else:
            raise Broken("the namespace admitted a privileged pod")


def _start_walk(entry: str, sandbox: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(WALK), entry, sandbox], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def _finish_walk(walking: subprocess.Popen[bytes]) -> None:
    try:
        _, told = walking.communicate(timeout=WALK_SECONDS)
    except subprocess.TimeoutExpired:
        walking.kill()
        raise Broken(f"the walk did not end within {WALK_SECONDS:g} s") from None
    if walking.returncode != 0:
        raise Broken(f"the walk failed: {told.decode()[-500:]}")


def _expect(origin: str, host: str, port: int, *, is_open: bool) -> None:
    program = f"import socket; socket.create_connection(({host!r}, {port}), 3).close()"
    try:
        _execute(origin, program)
        was_open = True
    except KubectlFailed as error:
        # A refused or unknown name would be no proof of a policy.
        if "TimeoutError" not in str(error) and "timed out" not in str(error):
            raise
        was_open = False
    if was_open != is_open:
        raise Broken(f"{origin} {'reaches' if was_open else 'does not reach'} {host}:{port}")


def _execute(deployment: str, program: str) -> None:
    where = ("exec", f"deployment/{deployment}", "-n", NAMESPACE, "--")
    kubectl(*where, "python", "-c", program)


def _ask(host: str, port: int) -> list[str]:
    program = (
        f"import time, urllib.request; time.sleep({POLICY_SECONDS}); "
        f"urllib.request.urlopen('http://{host}:{port}/metrics', timeout=3)"
    )
    return ["python", "-c", program]


def _pod_address(deployment: str) -> str:
    name, _, process = deployment.rpartition("-")
    selector = f"app.kubernetes.io/name={name},app.kubernetes.io/component={process}"
    found = json.loads(kubectl("get", "pods", "-n", NAMESPACE, "-l", selector, "-o", "json"))
    running = [item for item in found["items"] if item["status"]["phase"] == "Running"]
    return str(running[0]["status"]["podIP"])


def _phase(name: str) -> str:
    return kubectl("get", "pod", name, "-n", NAMESPACE, "-o", "jsonpath={.status.phase}")


def _wait(*arguments: str) -> None:
    kubectl(
        "wait",
        *arguments,
        "-n",
        NAMESPACE,
        f"--timeout={READY_SECONDS:g}s",
        seconds=READY_SECONDS + 5,
    )


def _until_rolled_out(name: str) -> None:
    kubectl(
        "rollout", "status", f"deployment/{name}", "-n", NAMESPACE,
        f"--timeout={ROLLOUT_SECONDS:g}s", seconds=ROLLOUT_SECONDS + 5,
    )  # fmt: skip


def _until(check: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise Broken(f"not within {seconds:g} s: {what}")
        time.sleep(1)


@contextmanager
def _step(what: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    _say(f"ok {time.monotonic() - started:6.1f} s  {what}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
