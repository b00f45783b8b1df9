"""The bank debits once per attempt and remembers what it answered."""

import asyncio

import httpx2
import pytest

from sandbox.tests.running import a_charge, a_fault, eventually

CHARGES = "/bank/v1/debits"
FAULTS = "/sandbox/v1/faults"


async def test_a_charge_succeeds_and_is_in_the_book(sandbox: httpx2.AsyncClient) -> None:
    order = a_charge(amount_fen=143_240)

    answer = await sandbox.post(CHARGES, json=order)

    book = (await sandbox.get("/sandbox/v1/charges")).json()
    assert answer.status_code == 200
    assert set(answer.json()) == {"attempt_id", "status", "trade_no", "amount_fen", "charged_at"}
    assert answer.json()["status"] == "succeeded"
    assert book == {
        "items": [{**answer.json(), "request_count": 1}],
        "next_cursor": None,
        "totals": {"succeeded_count": 1, "succeeded_fen": 143_240, "declined_count": 0},
    }


async def test_the_same_attempt_in_parallel_is_charged_once(sandbox: httpx2.AsyncClient) -> None:
    order = a_charge()

    answers = await asyncio.gather(*(sandbox.post(CHARGES, json=order) for _ in range(20)))

    (line,) = (await sandbox.get("/sandbox/v1/charges")).json()["items"]
    assert len({answer.text for answer in answers}) == 1
    assert line["request_count"] == 20


async def test_a_query_answers_what_the_charge_answered(sandbox: httpx2.AsyncClient) -> None:
    answer = await sandbox.post(CHARGES, json=(order := a_charge()))

    query = await sandbox.get(f"{CHARGES}/{order['attempt_id']}")

    assert query.json() == answer.json()


async def test_an_attempt_that_never_came_is_not_found(sandbox: httpx2.AsyncClient) -> None:
    query = await sandbox.get(f"{CHARGES}/{'0' * 32}")

    assert query.status_code == 404
    assert query.json()["code"] == "debit_not_found"


async def test_the_same_attempt_with_another_amount_is_refused(sandbox: httpx2.AsyncClient) -> None:
    order = a_charge(amount_fen=100)
    await sandbox.post(CHARGES, json=order)

    other = await sandbox.post(CHARGES, json={**order, "amount_fen": 101})

    totals = (await sandbox.get("/sandbox/v1/charges/totals")).json()
    assert (other.status_code, other.json()["code"]) == (409, "attempt_conflict")
    assert totals["succeeded_fen"] == 100


async def test_a_charge_after_its_expiry_is_declined(sandbox: httpx2.AsyncClient) -> None:
    answer = await sandbox.post(CHARGES, json=a_charge(expires_at="2020-01-01T08:00:00+08:00"))

    assert (answer.json()["status"], answer.json()["reason"]) == ("declined", "expired")


async def test_the_book_is_read_in_pages_newest_first(sandbox: httpx2.AsyncClient) -> None:
    attempts = [f"{number:032x}" for number in range(7)]
    for attempt_id in attempts:
        await sandbox.post(CHARGES, json=a_charge(attempt_id=attempt_id))

    pages, cursor = [], None
    for _ in range(3):
        query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = (await sandbox.get("/sandbox/v1/charges", params=query)).json()
        pages.append([item["attempt_id"] for item in page["items"]])
        cursor = page["next_cursor"]

    assert pages == [attempts[4:7], attempts[1:4], attempts[0:1]]
    assert cursor is None


@pytest.mark.parametrize("end", ["succeeded", "declined"])
async def test_a_slow_bank_accepts_processes_and_ends(
    sandbox: httpx2.AsyncClient, end: str
) -> None:
    await sandbox.post(FAULTS, json=a_fault("bank", "processing", count=1, delay_ms=500))
    if end == "declined":
        await sandbox.post(FAULTS, json=a_fault("bank", "decline", count=1))
    order = a_charge()

    sent = [(await sandbox.post(CHARGES, json=order)).json()["status"] for _ in range(2)]
    asked = (await sandbox.get(f"{CHARGES}/{order['attempt_id']}")).json()
    in_the_book = (await sandbox.get("/sandbox/v1/charges")).json()

    async def has_ended() -> bool:
        query = await sandbox.get(f"{CHARGES}/{order['attempt_id']}")
        return bool(query.json()["status"] == end)

    assert (sent, asked["status"]) == (["accepted", "accepted"], "processing")
    assert in_the_book["items"][0]["status"] == "processing"
    assert in_the_book["totals"]["succeeded_count"] == 0
    await eventually(has_ended)
    assert (await sandbox.post(CHARGES, json=order)).json()["status"] == end


@pytest.mark.parametrize(
    "kind",
    [
        "answer_huge",
        "answer_wrong_type",
        "answer_duplicate_keys",
        "answer_not_json",
        "answer_other_order",
    ],
)
async def test_a_hostile_answer_is_not_the_true_one(sandbox: httpx2.AsyncClient, kind: str) -> None:
    order = a_charge()
    true = await sandbox.post(CHARGES, json=order)
    path = f"{CHARGES}/{order['attempt_id']}"
    fault = a_fault("bank", kind, count=1, order=str(order["attempt_id"]))
    await sandbox.post(FAULTS, json=fault)

    hostile, again = await sandbox.get(path), await sandbox.get(path)

    assert hostile.text != true.text
    assert again.text == true.text
