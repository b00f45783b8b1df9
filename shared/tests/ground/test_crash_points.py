"""Crash points kill exactly where and when they are told to, and nobody can leave one on."""

import signal
import subprocess
import sys

import pytest

from shared.runtime.ground import crash_points

DATABASE_URL = "postgresql+asyncpg://songhe:Zk3v9@127.0.0.1:1/songhe"  # pragma: allowlist secret
SETTINGS = {
    "SONGHE_ENVIRONMENT": "development",
    "SONGHE_DATABASE_URL": DATABASE_URL,
    "SONGHE_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
}
PASSES = """
import sys
from shared.runtime.ground import crash_points
if sys.argv[1]:
    crash_points.arm(sys.argv[1])
for turn in range(4):
    print("turn", turn, flush=True)
    crash_points.reach("http.before_commit")
    crash_points.reach("relay.before_send")
"""


@pytest.mark.parametrize(
    ("wanted", "turns"), [("relay.before_send", 1), ("relay.before_send:3", 3)]
)
def test_the_process_dies_by_sigkill_at_the_given_pass(wanted: str, turns: int) -> None:
    done = _python("-c", PASSES, wanted)

    assert done.returncode == -signal.SIGKILL
    assert done.stdout.count("turn") == turns
    assert done.stderr == "crash point relay.before_send reached, process killed\n"


def test_a_process_that_nobody_armed_passes_every_place() -> None:
    done = _python("-c", PASSES, "")

    assert (done.returncode, done.stdout.count("turn")) == (0, 4)


@pytest.mark.parametrize(
    "wanted", ["relay.nowhere", "relay.before_send:0", "relay.before_send:x", ""]
)
def test_a_place_or_pass_that_does_not_exist_is_one_sentence(wanted: str) -> None:
    done = _service({"SONGHE_CRASH_AT": wanted})

    assert done.returncode == 2
    assert "SONGHE_CRASH_AT is wrong" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_production_refuses_crash_points_in_one_sentence() -> None:
    done = _service({"SONGHE_CRASH_AT": "relay.before_send", "SONGHE_ENVIRONMENT": "production"})

    assert done.returncode == 2
    assert done.stderr == ("SONGHE_CRASH_AT must not be set in production: it kills the process.\n")


def test_an_unarmed_place_costs_one_empty_call() -> None:
    assert crash_points.reach is crash_points._nothing


def _service(more: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return _python("-m", "services.billing", "migrate", environment={**SETTINGS, **more})


def _python(
    *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
