"""The outside world lies on demand, and its books say what really happened."""

import asyncio
import time

import httpx2
import pytest

from sandbox.tests.running import a_charge, a_fault, a_message, eventually

CHARGES = "/bank/v1/debits"
MESSAGES = "/sms/v1/messages"
FAULTS = "/sandbox/v1/faults"
IMPATIENT_SECONDS = 0.3


async def test_a_time_out_after_booking_has_charged_once(sandbox: httpx2.AsyncClient) -> None:
    await _add(sandbox, a_fault("bank", "timeout_after_booking", count=1))
    order = a_charge()

    with pytest.raises(httpx2.ReadTimeout):
        await sandbox.post(CHARGES, json=order, timeout=IMPATIENT_SECONDS)

    query = await sandbox.get(f"{CHARGES}/{order['attempt_id']}")
    again = await sandbox.post(CHARGES, json=order)
    assert query.json()["status"] == "succeeded"
    assert again.json() == query.json()
    assert (await _totals(sandbox))["succeeded_count"] == 1


async def test_a_time_out_before_booking_has_charged_nothing(sandbox: httpx2.AsyncClient) -> None:
    await _add(sandbox, a_fault("bank", "timeout_before_booking", count=1))
    order = a_charge()

    with pytest.raises(httpx2.ReadTimeout):
        await sandbox.post(CHARGES, json=order, timeout=IMPATIENT_SECONDS)

    query = await sandbox.get(f"{CHARGES}/{order['attempt_id']}")
    again = await sandbox.post(CHARGES, json=order)
    (line,) = (await sandbox.get("/sandbox/v1/charges")).json()["items"]
    assert query.status_code == 404
    assert again.json()["status"] == "succeeded"
    assert line["request_count"] == 2


async def test_a_held_call_ends_by_itself_with_504(sandbox: httpx2.AsyncClient) -> None:
    await _add(sandbox, a_fault("bank", "timeout_before_booking", delay_ms=50))

    answer = await sandbox.post(CHARGES, json=a_charge())

    assert (answer.status_code, answer.json()["code"]) == (504, "injected_timeout")


async def test_a_held_call_ends_when_the_caller_leaves(sandbox: httpx2.AsyncClient) -> None:
    await _add(sandbox, a_fault("bank", "timeout_after_booking", delay_ms=60_000))
    call = asyncio.create_task(sandbox.post(CHARGES, json=a_charge()))
    await eventually(lambda: _is_holding(sandbox, 1))

    call.cancel()

    await eventually(lambda: _is_holding(sandbox, 0))


@pytest.mark.parametrize(("kind", "charges"), [("error_500", 0), ("error_500_after_booking", 1)])
async def test_an_error_answers_500_and_the_book_knows_the_truth(
    sandbox: httpx2.AsyncClient, kind: str, charges: int
) -> None:
    await _add(sandbox, a_fault("bank", kind))

    answer = await sandbox.post(CHARGES, json=a_charge())

    assert (answer.status_code, answer.json()["code"]) == (500, "injected_error")
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await _totals(sandbox))["succeeded_count"] == charges


async def test_a_slow_channel_charges_although_the_caller_left(
    sandbox: httpx2.AsyncClient,
) -> None:
    await _add(sandbox, a_fault("bank", "slow", delay_ms=600))
    order = a_charge()

    with pytest.raises(httpx2.ReadTimeout):
        await sandbox.post(CHARGES, json=order, timeout=IMPATIENT_SECONDS)
    too_early = await sandbox.get(f"{CHARGES}/{order['attempt_id']}")

    assert too_early.status_code == 404
    await eventually(lambda: _is_booked(sandbox, 1))


async def test_a_duplicate_charges_twice_and_tells_of_one(sandbox: httpx2.AsyncClient) -> None:
    await _add(sandbox, a_fault("bank", "duplicate", count=1))
    order = a_charge(amount_fen=100)

    answers = [(await sandbox.post(CHARGES, json=order)).json() for _ in range(2)]

    lines = (await sandbox.get("/sandbox/v1/charges")).json()["items"]
    totals = await _totals(sandbox)
    assert answers[0] == answers[1]
    assert len({line["trade_no"] for line in lines}) == 2
    assert (totals["succeeded_count"], totals["succeeded_fen"]) == (2, 200)


async def test_a_decline_has_a_reason_and_moves_no_money(sandbox: httpx2.AsyncClient) -> None:
    await _add(sandbox, a_fault("bank", "decline", count=1))
    await _add(sandbox, a_fault("bank", "decline", count=1, reason="card_blocked"))

    answers = [(await sandbox.post(CHARGES, json=a_charge())).json() for _ in range(3)]

    totals = await _totals(sandbox)
    assert [answer.get("reason") for answer in answers] == [
        "insufficient_balance",
        "card_blocked",
        None,
    ]
    assert (totals["succeeded_count"], totals["declined_count"]) == (1, 2)


async def test_a_repeat_books_nothing_and_uses_up_no_booking_fault(
    sandbox: httpx2.AsyncClient,
) -> None:
    order = a_charge()
    first = await sandbox.post(CHARGES, json=order)
    await _add(sandbox, a_fault("bank", "decline"))
    await _add(sandbox, a_fault("bank", "duplicate"))

    repeat = await sandbox.post(CHARGES, json=order)

    assert repeat.json() == first.json()
    assert await _fired(sandbox) == [0, 0]


async def test_an_undeliverable_message_is_accepted_first(sandbox: httpx2.AsyncClient) -> None:
    await _add(sandbox, a_fault("sms", "decline"))
    message = a_message()

    answer = await sandbox.post(MESSAGES, json=message)

    async def undeliverable() -> bool:
        status = (await sandbox.get(f"{MESSAGES}/{message['reference']}")).json()
        settled = bool(status["status"] == "undeliverable")
        assert not settled or status["reason"] == "unreachable_number"
        return settled

    assert answer.status_code == 202
    await eventually(undeliverable)


async def test_a_duplicate_message_is_sent_twice(sandbox: httpx2.AsyncClient) -> None:
    await _add(sandbox, a_fault("sms", "duplicate"))

    await sandbox.post(MESSAGES, json=a_message())

    assert len((await sandbox.get("/sandbox/v1/sms")).json()["items"]) == 2


async def test_a_message_may_be_sent_although_its_answer_was_lost(
    sandbox: httpx2.AsyncClient,
) -> None:
    await _add(sandbox, a_fault("sms", "timeout_after_booking", count=1))
    message = a_message()

    with pytest.raises(httpx2.ReadTimeout):
        await sandbox.post(MESSAGES, json=message, timeout=IMPATIENT_SECONDS)

    assert (await sandbox.get(f"{MESSAGES}/{message['reference']}")).status_code == 200


async def test_faults_hit_their_own_target_and_call_only(sandbox: httpx2.AsyncClient) -> None:
    await _add(sandbox, a_fault("bank", "error_500", on="query"))
    order = a_charge()

    sent = await sandbox.post(CHARGES, json=order)
    message = await sandbox.post(MESSAGES, json=a_message())
    queried = await sandbox.get(f"{CHARGES}/{order['attempt_id']}")

    assert (sent.status_code, message.status_code, queried.status_code) == (200, 202, 500)


async def test_a_fault_on_any_call_hits_both(sandbox: httpx2.AsyncClient) -> None:
    await _add(sandbox, a_fault("sms", "error_500", on="any"))

    answers = [
        await sandbox.post(MESSAGES, json=a_message()),
        await sandbox.get(f"{MESSAGES}/reference"),
    ]

    assert [answer.status_code for answer in answers] == [500, 500]
    assert await _fired(sandbox) == [2]


async def test_faults_are_counted_and_deleted_one_by_one_or_all(
    sandbox: httpx2.AsyncClient,
) -> None:
    first = await _add(sandbox, a_fault("bank", "decline", count=2))
    await _add(sandbox, a_fault("sms", "duplicate"))
    await sandbox.post(CHARGES, json=a_charge())

    fired = await _fired(sandbox)
    one = await sandbox.delete(f"{FAULTS}/{first}")
    same = await sandbox.delete(f"{FAULTS}/{first}")
    left = await _fired(sandbox)
    everything = await sandbox.delete(FAULTS)

    assert fired == [1, 0]
    assert (one.status_code, same.status_code, everything.status_code) == (204, 404, 204)
    assert same.json()["code"] == "fault_not_found"
    assert left == [0]
    assert await _fired(sandbox) == []


async def test_a_rate_hits_the_same_calls_in_every_run(sandbox: httpx2.AsyncClient) -> None:
    async def run() -> list[int]:
        await sandbox.post("/sandbox/v1/reset")
        await _add(sandbox, a_fault("bank", "error_500", rate=0.5))
        answers = [await sandbox.post(CHARGES, json=a_charge()) for _ in range(40)]
        return [answer.status_code for answer in answers]

    first, second = await run(), await run()

    assert first == second
    assert 10 <= first.count(500) <= 30


async def test_reset_forgets_everything_and_interrupts_slow_calls(
    sandbox: httpx2.AsyncClient,
) -> None:
    await _add(sandbox, a_fault("bank", "slow", delay_ms=60_000))
    slow = asyncio.create_task(sandbox.post(CHARGES, json=a_charge()))
    await sandbox.post(MESSAGES, json=a_message())

    await eventually(lambda: _is_holding(sandbox, 1))
    began = time.monotonic()
    reset = await sandbox.post("/sandbox/v1/reset")

    assert reset.status_code == 204
    assert (await slow).status_code == 503
    assert time.monotonic() - began < 5
    assert await _fired(sandbox) == []
    assert (await sandbox.get("/sandbox/v1/sms")).json()["items"] == []
    assert await _is_booked(sandbox, 0)


@pytest.mark.parametrize("kind", ["decline", "duplicate"])
async def test_a_booking_fault_on_a_query_is_refused(
    sandbox: httpx2.AsyncClient, kind: str
) -> None:
    answer = await sandbox.post(FAULTS, json=a_fault("bank", kind, on="query"))

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


async def _add(sandbox: httpx2.AsyncClient, fault: dict[str, object]) -> str:
    answer = await sandbox.post(FAULTS, json=fault)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["fault_id"])


async def _fired(sandbox: httpx2.AsyncClient) -> list[int]:
    return [item["fired_count"] for item in (await sandbox.get(FAULTS)).json()["items"]]


async def _totals(sandbox: httpx2.AsyncClient) -> dict[str, int]:
    totals: dict[str, int] = (await sandbox.get("/sandbox/v1/charges/totals")).json()
    return totals


async def _is_holding(sandbox: httpx2.AsyncClient, count: int) -> bool:
    return bool((await sandbox.get(FAULTS)).json()["held_count"] == count)


async def _is_booked(sandbox: httpx2.AsyncClient, count: int) -> bool:
    return (await _totals(sandbox))["succeeded_count"] == count
