"""Services of an older commit run beside the new ones, as during every rolling update."""

import subprocess
import tarfile
import time
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import httpx2

from devstack.plan import ROOT
from tests.crash.run import Field, Mode, Scenario, Void

# The end of the first saga, and the oldest whose tables are those of today: later revisions only
# add. Where today's settings do not start it any more, a later one stands here: payment gave up the
# sandbox's own channel for the bank's, and notifier's key file names its keys.
OLDER_COMMITS: Mapping[str, str] = {
    "billing": "0dbc209",
    "payment": "d32b15f",
    "notifier": "d32b15f",
}
BESIDE_SECONDS = 25.0
# Python imports from the folder that it is started in.
START_THERE = (
    "import os, sys; os.chdir(sys.argv[1]); "
    "os.execv(sys.executable, [sys.executable, '-m', *sys.argv[2:]])"
)


def check_out(field: Field) -> None:
    """The older code in folders of its own, and its workers as second members."""
    for service, commit in OLDER_COMMITS.items():
        folder = field.stack.stack.state_dir / f"older-{commit}"
        if not folder.exists():
            _extract(commit, folder)
        argv = ["-c", START_THERE, str(folder), f"services.{service}", "worker"]
        field.stack.launch(f"{service}-worker-older", argv=argv)


def run_beside(field: Field) -> None:
    """Both generations share the partitions; then the older one leaves."""
    time.sleep(BESIDE_SECONDS)
    for service, commit in OLDER_COMMITS.items():
        name = f"{service}-worker-older"
        if not field.stack.is_running(name):
            raise Void(f"{name} ended by itself with {field.stack.exit_code(name)}")
        taken = _records_taken(field.stack.metrics(name))
        field.notes.append(f"{service} of {commit} took {taken} records")
        if not taken:
            raise Void(f"{name} took no record")
    for service in OLDER_COMMITS:
        field.stack.stop(f"{service}-worker-older")


def _extract(commit: str, folder: Path) -> None:
    done = subprocess.run(
        ["git", "archive", commit], cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    if done.returncode != 0:
        raise Void(f"this clone has no commit {commit}")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")


def _records_taken(metrics: str) -> int:
    text = httpx2.get(f"{metrics}/metrics", trust_env=False, timeout=5.0).text
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in text.splitlines()
        if line.startswith("songhe_dispatch_records_total{")
    )


OLDER_SCENARIOS = [
    Scenario(
        name="older-services",
        what="older workers, back to the first saga, share the partitions with the new ones",
        mode=Mode.WIRE,
        rate=50.0,
        seconds=60.0,
        before=check_out,
        fault=run_beside,
        is_alone=True,
    ),
]
