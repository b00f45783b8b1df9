"""The kill switch on the command line: who, when and why stay, and wrong use is one sentence."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.payment.tests.building import CASHIER
from services.payment.tests.world import World

ROOT = Path(__file__).resolve().parents[3]
Run = Callable[..., subprocess.CompletedProcess[str]]
WHO = ("--by", "Wang, on duty", "--why", "the channel announced a stop")


@pytest.fixture
def channels(service_database: Callable[[str], str]) -> Run:
    """Runs `python -m services.payment channels …` on the database of `world`."""
    url = service_database("payment")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "services.payment", "channels", *words],
            env={
                "PATH": os.environ["PATH"],
                "SONGHE_ENVIRONMENT": "development",
                "SONGHE_DATABASE_URL": url,
                "SONGHE_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
            },
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


async def test_a_channel_is_stopped_and_started_and_both_stay_in_the_audit(
    channels: Run, world: World
) -> None:
    stopped = channels("stop", CASHIER.id, *WHO)
    listed = channels("list")
    started = channels("start", CASHIER.id, *WHO)

    assert [stopped.returncode, listed.returncode, started.returncode] == [0, 0, 0], stopped.stderr
    (line,) = [line for line in listed.stdout.splitlines() if line.startswith(CASHIER.id)]
    assert "stopped" in line
    assert line.endswith("by Wang, on duty: the channel announced a stop")
    audit = await world.rows("SELECT * FROM channel_switch ORDER BY id")
    assert [row["is_stopped"] for row in audit] == [True, False]
    assert {row["switched_by"] for row in audit} == {"Wang, on duty"}


async def test_a_stop_of_all_lets_no_direct_order_begin(channels: Run, world: World) -> None:
    channels("stop", "all", *WHO)

    order_id = await world.open()

    order = await world.order(order_id)
    assert (order["status"], order["reason"]) == ("FAILED", "channel_unavailable")
    assert await world.rows("SELECT id FROM payment_attempt") == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("stop", "carrier-pigeon", *WHO), "there is no channel"),
        (("stop", CASHIER.id, "--by", "Wang"), "--why"),
        (("stop", CASHIER.id, "--by", " ", "--why", "x"), "--by must be one line"),
        (("stop", CASHIER.id, "--by", "Wang", "--why", "x\ny"), "--why must be one line"),
        ((), "action"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_code_2(
    channels: Run, words: tuple[str, ...], sentence: str
) -> None:
    done = channels(*words)

    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
