"""What every channel must do; run against the fake and against our adapter on a real sandbox."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from msgspec import structs

from services.payment.adapters.bank.direct_debit import BankDirectDebitChannel
from services.payment.application.ports import DirectChannel, DueAttempt
from services.payment.domain.channel_answer import Declined, NotThere, Succeeded, Unknown
from services.payment.domain.channel_answer import UnknownCause as Cause
from services.payment.domain.failure_reason import FailureReason
from services.payment.domain.opening import first_attempt
from services.payment.domain.payment_attempt import Call
from services.payment.tests.building import AMOUNT, an_order
from services.payment.tests.fake_channel import FakeChannel
from shared.kernel.ids import new_id

ON = {Call.START: "send", Call.QUERY: "query"}


@dataclass(frozen=True)
class Subject:
    """A channel under test, how to break it, and how much money it took."""

    channel: DirectChannel
    inject: Callable[..., Awaitable[None]]
    charge_count: Callable[[], Awaitable[int]]


@pytest_asyncio.fixture(params=["fake", "sandbox"])
async def subject(
    request: pytest.FixtureRequest,
    sandbox: httpx2.AsyncClient,
    sandbox_channel: BankDirectDebitChannel,
) -> Subject:
    if request.param == "fake":
        return _fake()
    return _sandbox(sandbox, sandbox_channel)


def _fake() -> Subject:
    fake = FakeChannel()

    async def inject(kind: str, on: Call = Call.START) -> None:
        fake.inject(kind, on=on)

    async def charge_count() -> int:
        return fake.charged.total()

    return Subject(fake, inject, charge_count)


def _sandbox(client: httpx2.AsyncClient, channel: BankDirectDebitChannel) -> Subject:
    async def inject(kind: str, on: Call = Call.START) -> None:
        fault = {"target": "bank", "kind": kind, "on": ON[on], "count": 1}
        (await client.post("/sandbox/v1/faults", json=fault)).raise_for_status()

    async def charge_count() -> int:
        totals = (await client.get("/sandbox/v1/charges/totals")).json()
        count: int = totals["succeeded_count"]
        return count

    return Subject(channel, inject, charge_count)


def a_due_attempt(**fields: Any) -> DueAttempt:
    now = datetime.now(UTC)
    order = an_order(expires_at=now + timedelta(minutes=30))
    attempt = structs.replace(first_attempt(order, attempt_id=new_id(), now=now), **fields)
    return DueAttempt(attempt, Call.START, new_id(), order.payer_id, order.period)


async def test_a_charge_succeeds_with_the_exact_amount(subject: Subject) -> None:
    answer = await subject.channel.start(a_due_attempt())

    assert isinstance(answer, Succeeded)
    assert answer.amount == AMOUNT
    assert answer.trade_no
    assert abs(answer.at - datetime.now(UTC)) < timedelta(minutes=1)
    assert await subject.charge_count() == 1


async def test_the_same_attempt_sent_twice_is_charged_once(subject: Subject) -> None:
    due = a_due_attempt()

    first = await subject.channel.start(due)
    second = await subject.channel.start(due)

    assert first == second
    assert await subject.charge_count() == 1


async def test_a_query_says_what_the_charge_said(subject: Subject) -> None:
    due = a_due_attempt()

    answer = await subject.channel.start(due)

    assert await subject.channel.query(due) == answer


async def test_an_attempt_that_was_never_sent_is_not_there(subject: Subject) -> None:
    assert await subject.channel.query(a_due_attempt()) == NotThere()


async def test_a_decline_is_final_and_takes_nothing(subject: Subject) -> None:
    due = a_due_attempt()
    await subject.inject("decline")

    answers = [await subject.channel.start(due), await subject.channel.query(due)]
    again = await subject.channel.start(due)

    assert [*answers, again] == [Declined(FailureReason.INSUFFICIENT_FUNDS)] * 3
    assert await subject.charge_count() == 0


async def test_nothing_is_charged_after_the_expiry_that_was_sent(subject: Subject) -> None:
    late = a_due_attempt(expires_at=datetime.now(UTC) - timedelta(seconds=1))

    assert await subject.channel.start(late) == Declined(FailureReason.EXPIRED)
    assert await subject.charge_count() == 0


@pytest.mark.parametrize(
    ("kind", "cause", "is_booked"),
    [
        ("timeout_after_booking", Cause.TIMEOUT, True),
        ("error_500_after_booking", Cause.SERVER_ERROR, True),
        ("timeout_before_booking", Cause.TIMEOUT, False),
        ("error_500", Cause.SERVER_ERROR, False),
    ],
)
async def test_a_call_that_fails_is_unknown_and_a_query_tells_the_truth(
    subject: Subject, kind: str, cause: Cause, is_booked: bool
) -> None:
    due = a_due_attempt()
    await subject.inject(kind)

    answer = await subject.channel.start(due)
    truth = await subject.channel.query(due)

    assert answer == Unknown(cause)
    assert isinstance(truth, Succeeded if is_booked else NotThere)


@pytest.mark.parametrize("kind", ["timeout_before_booking", "error_500"])
async def test_a_query_that_fails_is_unknown(subject: Subject, kind: str) -> None:
    due = a_due_attempt()
    await subject.channel.start(due)
    await subject.inject(kind, on=Call.QUERY)

    failed = await subject.channel.query(due)
    truth = await subject.channel.query(due)

    assert isinstance(failed, Unknown)
    assert isinstance(truth, Succeeded)
