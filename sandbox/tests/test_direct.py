"""The direct channel charges once per attempt and remembers what it answered."""

import asyncio

import httpx2

from sandbox.tests.running import a_charge

CHARGES = "/direct/v1/charges"


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
    assert query.json()["code"] == "charge_not_found"


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
