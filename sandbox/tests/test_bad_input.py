"""Bad input gets problem+json with a stable code, never a 500, and books nothing."""

import httpx2
import pytest

from sandbox.tests.running import Json, a_charge, a_fault, a_message

CHARGES = "/bank/v1/debits"
MESSAGES = "/sms/v1/messages"
FAULTS = "/sandbox/v1/faults"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHARGES, a_charge(unknown=1)),
        (CHARGES, a_charge(amount_fen="100")),
        (CHARGES, a_charge(amount_fen=100.0)),
        (CHARGES, a_charge(amount_fen=True)),
        (CHARGES, a_charge(amount_fen=0)),
        (CHARGES, a_charge(amount_fen=10**30)),
        (CHARGES, a_charge(currency="USD")),
        (CHARGES, a_charge(attempt_id="A" * 32)),
        (CHARGES, a_charge(attempt_id="0" * 31)),
        (CHARGES, a_charge(expires_at=1_800_000_000)),
        (CHARGES, a_charge(expires_at="2100-01-01T00:00:00")),
        (CHARGES, a_charge(expires_at="2100-02-31T00:00:00Z")),
        (MESSAGES, a_message(unknown=1)),
        (MESSAGES, a_message(phone="13800138000")),
        (MESSAGES, a_message(phone="+86١٣٨٠٠١٣٨٠٠٠")),
        (MESSAGES, a_message(reference="a/b")),
        (MESSAGES, a_message(text="")),
        (MESSAGES, a_message(variables={"deep": {"er": 1}})),
        (FAULTS, a_fault("bank", "explode")),
        (FAULTS, a_fault("moon", "slow")),
        (FAULTS, a_fault("sms", "never_notify")),
        (FAULTS, a_fault("alipay", "decline", on="query")),
        (FAULTS, a_fault("alipay", "slow", order="a b")),
        (FAULTS, a_fault("alipay", "notify_times", times=0)),
        (FAULTS, a_fault("bank", "slow", delay_ms=10**9)),
        (FAULTS, a_fault("bank", "slow", count=0)),
        (FAULTS, a_fault("bank", "slow", rate=1.5)),
    ],
)
async def test_a_body_that_breaks_the_contract_is_malformed(
    sandbox: httpx2.AsyncClient, path: str, body: Json
) -> None:
    answer = await sandbox.post(path, json=body)

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
    assert answer.headers["content-type"] == "application/problem+json"
    assert await _nothing_is_booked(sandbox)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"null", b"[]", b"[" * 50_000, b'{"\\ud800": 1}', b'{"a": 1e999}'],
)
async def test_bytes_that_are_no_request_are_malformed(
    sandbox: httpx2.AsyncClient, body: bytes
) -> None:
    answer = await sandbox.post(CHARGES, content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


@pytest.mark.parametrize(
    "path",
    [
        "/bank/v1/debits/not-hex",
        "/sms/v1/messages/%00",
        "/sandbox/v1/sms?limit=0",
        "/sandbox/v1/sms?limit=1001",
        "/sandbox/v1/sms?cursor=-1",
        "/sandbox/v1/charges?cursor=99999999999999999999",
    ],
)
async def test_malformed_ids_and_queries_are_refused(
    sandbox: httpx2.AsyncClient, path: str
) -> None:
    answer = await sandbox.get(path)

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


@pytest.mark.parametrize("size", [64 * 1024, 64 * 1024 + 1])
async def test_a_body_over_64_kib_is_too_large(sandbox: httpx2.AsyncClient, size: int) -> None:
    async def pieces() -> object:
        for start in range(0, size, 8192):
            yield b" " * min(8192, size - start)

    announced = await sandbox.post(MESSAGES, content=b" " * size)
    streamed = await sandbox.post(MESSAGES, content=pieces())  # type: ignore[arg-type]

    expected = (413, "body_too_large") if size > 64 * 1024 else (400, "malformed")
    assert (announced.status_code, announced.json()["code"]) == expected
    assert (streamed.status_code, streamed.json()["code"]) == expected


async def test_unknown_paths_and_methods_are_problems_too(sandbox: httpx2.AsyncClient) -> None:
    path = await sandbox.get("/nowhere")
    method = await sandbox.put("/sandbox/v1/reset")

    assert (path.status_code, path.json()["code"]) == (404, "not_found")
    assert (method.status_code, method.json()["code"]) == (405, "method_not_allowed")


async def _nothing_is_booked(sandbox: httpx2.AsyncClient) -> bool:
    views = ("/sandbox/v1/charges", "/sandbox/v1/sms", FAULTS)
    return not any([(await sandbox.get(view)).json()["items"] for view in views])
