"""The real processes: they start on settings alone, serve, and stop cleanly on SIGTERM."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from testing.child import free_port
from testing.eventually import eventually

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 30.0
STOP_SECONDS = 15

Environment = dict[str, str]
# With a password that no development tool made
PRODUCTION = {
    "SONGHE_ENVIRONMENT": "production",
    "SONGHE_DATABASE_URL": "postgresql+asyncpg://songhe_identity@127.0.0.1/songhe_identity",
}


@pytest.fixture
def environment(service_database: Callable[[str], str], redis_url: str, keys: Path) -> Environment:
    """What a process needs, and nothing that this test run happens to have set."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SONGHE_")}
    return clean | {
        "SONGHE_ENVIRONMENT": "development",
        "SONGHE_DATABASE_URL": service_database("identity"),
        "SONGHE_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
        "SONGHE_REDIS_URL": redis_url,
        "SONGHE_HTTP_PORT": str(free_port()),
        "SONGHE_METRICS_PORT": str(free_port()),
        "SONGHE_SERVICE_PUBLIC_KEYS_DIR": str(keys / "callers" / "identity"),
        "SONGHE_ACCESS_TOKEN_KEYS_DIR": str(keys / "access-tokens"),
        "SONGHE_PHONE_ENCRYPTION_KEYS_DIR": str(keys / "phone-encryption"),
        "SONGHE_PHONE_INDEX_KEY_FILE": str(keys / "phone-index.key"),
        "SONGHE_SMS_CODE_KEY_FILE": str(keys / "sms-code.key"),
        "SONGHE_SMS_URL": "http://127.0.0.1:9",
    }


@pytest.mark.parametrize("process", ["api", "worker"])
async def test_a_process_becomes_ready_and_stops_on_sigterm(
    environment: Environment, process: str
) -> None:
    metrics = f"http://127.0.0.1:{environment['SONGHE_METRICS_PORT']}"
    with started(environment, process) as running:
        async with httpx2.AsyncClient(trust_env=False) as http:

            async def is_ready() -> bool:
                assert running.poll() is None, "it ended while it started"
                try:
                    return (await http.get(f"{metrics}/health/ready")).status_code == 200
                except httpx2.TransportError:
                    return False

            await eventually(is_ready, START_SECONDS)
            exposed = (await http.get(f"{metrics}/metrics")).text
        running.send_signal(signal.SIGTERM)
        exit_code = running.wait(STOP_SECONDS)

    assert exit_code == 0
    assert 'songhe_build_info{revision="unknown",service="identity"' in exposed
    if process == "api":
        assert 'songhe_identity_refreshes_total{verdict="reused"} 0.0' in exposed


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"SONGHE_SMS_URL": None}, "SONGHE_SMS_URL"),
        ({"SONGHE_SMS_CODE_KEY_FILE": "/nowhere"}, "SONGHE_SMS_CODE_KEY_FILE"),
        ({"SONGHE_TRUSTED_PROXIES": "not a network"}, "SONGHE_TRUSTED_PROXIES"),
        ({"SONGHE_SMS_CALLING_CODES": "+86"}, "SONGHE_SMS_CALLING_CODES"),
        ({"SONGHE_SESSION_IDLE_DAYS": "0"}, "SONGHE_SESSION_IDLE_DAYS"),
        (PRODUCTION, "SONGHE_SMS_URL"),
        (PRODUCTION, "SONGHE_TRUSTED_PROXIES"),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_exit_code_2(
    environment: Environment, changes: Mapping[str, str | None], named: str
) -> None:
    changed = {**environment, **changes}
    wrong = {name: value for name, value in changed.items() if value is not None}

    ended = subprocess.run(
        [sys.executable, "-m", "services.identity", "api"],
        env=wrong,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )

    assert ended.returncode == 2
    assert named in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


@contextmanager
def started(environment: Environment, process: str) -> Iterator[subprocess.Popen[bytes]]:
    running = subprocess.Popen(
        [sys.executable, "-m", "services.identity", process], env=environment, cwd=ROOT
    )
    try:
        yield running
    finally:
        if running.poll() is None:
            running.kill()
        running.wait(STOP_SECONDS)
