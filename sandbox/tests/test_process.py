"""The process: its settings, its books over a restart, its end."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox.tests.merchant import Mailbox, WechatPayMerchant, a_wechatpay_order
from sandbox.tests.running import (
    ROOT,
    a_charge,
    a_fault,
    a_message,
    eventually,
    running_sandbox,
    settings,
)

CHARGES = "/bank/v1/debits"


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_the_books_survive_a_restart(tmp_path: Path, end: str) -> None:
    order, message = a_charge(), a_message()
    async with running_sandbox(tmp_path) as sandbox:
        before = await sandbox.client.post(CHARGES, json=order)
        await sandbox.client.post("/sms/v1/messages", json=message)
        await sandbox.client.post("/sandbox/v1/faults", json=a_fault("bank", "decline"))
        sandbox.kill() if end == "kill" else sandbox.stop()

    async with running_sandbox(tmp_path) as sandbox:
        after = await sandbox.client.post(CHARGES, json=order)
        sms = await sandbox.client.get(f"/sms/v1/messages/{message['reference']}")
        declined = await sandbox.client.post(CHARGES, json=a_charge())

    assert after.json() == before.json()
    assert sms.status_code == 200
    assert declined.json()["status"] == "declined"


async def test_trade_numbers_depend_on_the_seed_alone(tmp_path: Path) -> None:
    order = a_charge()

    numbers = []
    for run, seed in enumerate(["1", "1", "2"]):
        async with running_sandbox(tmp_path / str(run), SONGHE_SANDBOX_SEED=seed) as sandbox:
            answer = await sandbox.client.post(CHARGES, json=order)
            numbers.append(answer.json()["trade_no"])

    assert numbers[0] == numbers[1] != numbers[2]


async def test_a_message_stays_accepted_until_the_delay_is_over(tmp_path: Path) -> None:
    delay = {"SONGHE_SANDBOX_SMS_DELIVERY_DELAY_MS": "60000"}
    async with running_sandbox(tmp_path, **delay) as sandbox:
        await sandbox.client.post("/sms/v1/messages", json=a_message(reference="early"))

        answer = await sandbox.client.get("/sms/v1/messages/early")

    assert answer.json()["status"] == "accepted"


async def test_sigterm_ends_it_cleanly_even_with_calls_held(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path) as sandbox:
        for kind in ("slow", "timeout_after_booking"):
            target = "sms" if kind == "slow" else "bank"
            fault = a_fault(target, kind, delay_ms=60_000)
            await sandbox.client.post("/sandbox/v1/faults", json=fault)
        calls = [
            asyncio.create_task(sandbox.client.post("/sms/v1/messages", json=a_message())),
            asyncio.create_task(sandbox.client.post(CHARGES, json=a_charge())),
        ]

        async def both_are_held() -> bool:
            faults = await sandbox.client.get("/sandbox/v1/faults")
            return bool(faults.json()["held_count"] == 2)

        await eventually(both_are_held)
        began = time.monotonic()
        code = await asyncio.to_thread(sandbox.stop)
        answers = await asyncio.gather(*calls)

    assert code == 0
    assert time.monotonic() - began < 4
    assert [answer.status_code for answer in answers] == [503, 504]


async def test_a_killed_sandbox_repeats_its_notifications(
    tmp_path: Path, channel_key_folder: Path, box: Mailbox
) -> None:
    box.status = 503
    changes = {
        "SONGHE_SANDBOX_CHANNEL_KEYS_DIR": str(channel_key_folder / "sandbox"),
        # The first repeat comes after a second.
        "SONGHE_SANDBOX_TIME_FACTOR": "15",
    }
    async with running_sandbox(tmp_path, **changes) as sandbox:
        merchant = WechatPayMerchant(channel_key_folder, sandbox.client)
        order = a_wechatpay_order(box)
        started = await merchant.call("POST", "/v3/pay/transactions/native", order)
        await sandbox.client.post(f"{started.json()['code_url']}/pay")
        await eventually(lambda: _has(box, 1))
        sandbox.kill()
    async with running_sandbox(tmp_path, **changes):
        await eventually(lambda: _has(box, 2))

    first, second = box.received[:2]
    assert json.loads(first.body)["id"] == json.loads(second.body)["id"]


async def _has(box: Mailbox, count: int) -> bool:
    return len(box.received) >= count


async def test_it_is_alive_and_ready(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path) as sandbox:
        live = await sandbox.client.get("/health/live")
        ready = await sandbox.client.get("/health/ready")

    assert (live.json(), ready.json()) == ({"status": "live"}, {"status": "ready"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SONGHE_SANDBOX_HTTP_PORT", None),
        ("SONGHE_SANDBOX_HTTP_PORT", "many"),
        ("SONGHE_SANDBOX_DATA_DIR", None),
        ("SONGHE_SANDBOX_DATA_DIR", "/dev/null/book"),
        ("SONGHE_SANDBOX_SEED", "x"),
        ("SONGHE_SANDBOX_TIME_FACTOR", "0"),
        ("SONGHE_SANDBOX_CHANNEL_KEYS_DIR", "/dev/null"),
        ("SONGHE_SANDBOX_PUBLIC_URL", "ftp://here"),
        ("SONGHE_SANDBOX_SMS_DELIVERY_DELAY_MS", "-1"),
        ("SONGHE_ENVIRONMENT", "production"),
    ],
)
def test_a_wrong_or_missing_setting_is_named_in_one_sentence(
    tmp_path: Path, name: str, value: str | None
) -> None:
    environment = settings(tmp_path)
    environment.pop(name, None)
    if value is not None:
        environment[name] = value

    ended = subprocess.run(
        [sys.executable, "-m", "sandbox"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert ended.returncode == 2
    assert ended.stderr.startswith(name)
    assert ended.stderr.count("\n") == 1
