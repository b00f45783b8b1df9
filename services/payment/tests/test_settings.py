"""A wrong or missing setting ends with exit code 2 and one sentence that names it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
WORKER = {
    "SONGHE_ENVIRONMENT": "development",
    "SONGHE_DATABASE_URL": "postgresql+asyncpg://songhe_payment@127.0.0.1:9/songhe_payment",
    "SONGHE_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
    "SONGHE_METRICS_PORT": "0",
    "SONGHE_BANK_URL": "http://127.0.0.1:9",
}
API = WORKER | {
    "SONGHE_HTTP_PORT": "0",
    "SONGHE_REDIS_URL": "redis://127.0.0.1:9/0",
    "SONGHE_IDENTITY_URL": "http://127.0.0.1:9",
}


def ended(command: str, environment: dict[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "services.payment", command],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("worker", "SONGHE_DATABASE_URL"),
        ("api", "SONGHE_REDIS_URL"),
        ("api", "SONGHE_IDENTITY_URL"),
        ("api", "SONGHE_HTTP_PORT"),
    ],
)
def test_a_missing_setting_is_named(command: str, missing: str) -> None:
    environment = {name: value for name, value in API.items() if name != missing}

    code, sentence = ended(command, environment)

    assert code == 2
    assert missing in sentence
    assert len(sentence.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SONGHE_BANK_URL", "not an address"),
        ("SONGHE_BANK_HOURS", "20:00-08:00"),
        ("SONGHE_BANK_NOTICE_SECONDS", "-1"),
        ("SONGHE_PAYMENT_CONCURRENT_CALLS", "0"),
        ("SONGHE_PAYMENT_LEASE_SECONDS", "10"),
        ("SONGHE_PAYMENT_DEFAULT_CHANNEL", "carrier-pigeon"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    code, sentence = ended("worker", WORKER | {name: value})

    assert code == 2
    assert name in sentence
    assert len(sentence.splitlines()) == 1


def test_the_sandbox_is_refused_in_production() -> None:
    production = {"SONGHE_ENVIRONMENT": "production"}

    code, sentence = ended("worker", WORKER | production)

    assert code == 2
    assert "SONGHE_BANK_URL" in sentence
