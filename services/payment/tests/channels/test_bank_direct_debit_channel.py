"""Hostile and broken answers of the direct channel: all of them are unknown, none is believed."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from services.payment.adapters.bank.direct_debit import (
    ANSWER_BYTES_MAX,
    BANK_DIRECT_DEBIT,
    BankDirectDebitChannel,
)
from services.payment.application.ports import DueAttempt
from services.payment.domain.channel_answer import (
    AwaitingPayer,
    ChannelAnswer,
    Declined,
    NotThere,
    Succeeded,
    Unknown,
    UnknownCause,
)
from services.payment.domain.debit_window import debit_window
from services.payment.domain.failure_reason import FailureReason
from services.payment.domain.opening import first_attempt
from services.payment.domain.payment_attempt import Call
from services.payment.tests.building import AMOUNT, an_order
from shared.kernel.clock import SHANGHAI, SystemClock
from shared.kernel.ids import new_id
from testing.clock import FixedClock

NONSENSE = Unknown(UnknownCause.NONSENSE)
NOW = datetime.now(UTC)
ORDER = an_order(expires_at=NOW + timedelta(minutes=30))
ATTEMPT = first_attempt(ORDER, attempt_id=new_id(), now=NOW)
DUE = DueAttempt(ATTEMPT, Call.START, new_id(), ORDER.payer_id, ORDER.period)


def a_charge(**changes: Any) -> bytes:
    charge = {
        "attempt_id": ATTEMPT.number,
        "status": "succeeded",
        "trade_no": "1234567890",
        "amount_fen": AMOUNT.fen,
        "charged_at": "2026-11-24T04:30:00.123Z",
    }
    return json.dumps(charge | changes).encode()


async def answer_to(
    handler: Callable[[httpx2.Request], httpx2.Response], call: Call = Call.START
) -> ChannelAnswer:
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(handler)) as client:
        channel = BankDirectDebitChannel(client, url="http://channel.test/", clock=SystemClock())
        return await (channel.start(DUE) if call is Call.START else channel.query(DUE))


async def told(status: int, content: bytes, call: Call = Call.START) -> ChannelAnswer:
    return await answer_to(lambda _: httpx2.Response(status, content=content), call)


async def test_a_well_formed_answer_is_believed() -> None:
    answer = await told(200, a_charge())

    assert answer == Succeeded("1234567890", AMOUNT, datetime(2026, 11, 24, 4, 30, 0, 123000, UTC))


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("insufficient_balance", FailureReason.INSUFFICIENT_FUNDS),
        ("expired", FailureReason.EXPIRED),
        ("something_new", FailureReason.REJECTED),
        (None, FailureReason.REJECTED),
    ],
)
async def test_every_decline_has_a_reason_of_ours(
    reason: str | None, expected: FailureReason
) -> None:
    assert await told(200, a_charge(status="declined", reason=reason)) == Declined(expected)


@pytest.mark.parametrize("status", ["accepted", "processing"])
async def test_what_the_bank_has_not_decided_waits(status: str) -> None:
    assert await told(200, a_charge(status=status)) == AwaitingPayer()


async def test_nothing_is_sent_outside_of_the_hours_of_debits() -> None:
    noon = datetime(2026, 11, 24, 12, tzinfo=SHANGHAI)
    by_night = debit_window(notice=timedelta(0), hours="20:00-24:00")
    sent: list[httpx2.Request] = []

    def bank(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return httpx2.Response(200, content=a_charge())

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(bank)) as client:
        channel = BankDirectDebitChannel(
            client,
            url="http://channel.test/",
            clock=FixedClock(noon),
            capabilities=replace(BANK_DIRECT_DEBIT, debit_window=by_night),
        )
        answer = await channel.start(DUE)

    assert answer == NotThere()
    assert sent == []


@pytest.mark.parametrize("call", [Call.START, Call.QUERY])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"<html>login</html>",
        b"\xff\xfe\x00",
        b"[" * 10_000,
        a_charge(attempt_id=new_id().hex),
        a_charge(attempt_id=None),
        a_charge(status="SUCCEEDED"),
        a_charge(status=["succeeded"]),
        a_charge(trade_no=""),
        a_charge(trade_no="12\x0034"),
        a_charge(trade_no="1234\n"),
        a_charge(trade_no="1" * 65),
        a_charge(trade_no=None),
        a_charge(amount_fen=0),
        a_charge(amount_fen=-1),
        a_charge(amount_fen=1.5),
        a_charge(amount_fen="150920"),
        a_charge(amount_fen=10**30),
        a_charge(charged_at="2026-11-24T04:30:00"),
        a_charge(charged_at="yesterday"),
        a_charge(charged_at=1_795_494_600),
        a_charge() + a_charge(),
        a_charge(padding="x" * ANSWER_BYTES_MAX),
    ],
)
async def test_an_answer_that_is_not_exactly_right_is_unknown(content: bytes, call: Call) -> None:
    assert await told(200, content, call) == NONSENSE


@pytest.mark.parametrize("status", [201, 204, 301, 400, 401, 403, 404, 409, 429])
async def test_no_other_status_concludes_anything(status: int) -> None:
    assert await told(status, a_charge()) == NONSENSE


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_errors_of_the_channel_are_unknown(status: int) -> None:
    assert await told(status, a_charge()) == Unknown(UnknownCause.SERVER_ERROR)


async def test_not_there_needs_the_channels_own_word() -> None:
    own_word = json.dumps({"code": "debit_not_found", "status": 404}).encode()

    assert await told(404, own_word, Call.QUERY) == NotThere()
    assert await told(404, own_word, Call.START) == NONSENSE
    assert await told(404, b'{"code":"not_found"}', Call.QUERY) == NONSENSE
    assert await told(404, b"404 page not found", Call.QUERY) == NONSENSE


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (httpx2.ReadTimeout("slow"), UnknownCause.TIMEOUT),
        (httpx2.ConnectTimeout("slow"), UnknownCause.TIMEOUT),
        (httpx2.PoolTimeout("busy"), UnknownCause.TIMEOUT),
        (httpx2.ConnectError("refused"), UnknownCause.CONNECTION),
        (httpx2.RemoteProtocolError("cut"), UnknownCause.CONNECTION),
        (httpx2.DecodingError("gzip"), UnknownCause.CONNECTION),
        (OSError("reset"), UnknownCause.CONNECTION),
    ],
)
async def test_a_broken_connection_is_unknown(error: Exception, cause: UnknownCause) -> None:
    def fail(_: httpx2.Request) -> httpx2.Response:
        raise error

    assert await answer_to(fail) == Unknown(cause)


async def test_the_channel_hears_ids_and_never_who_pays() -> None:
    seen: list[dict[str, Any]] = []

    def listen(request: httpx2.Request) -> httpx2.Response:
        seen.append(json.loads(request.content))
        return httpx2.Response(200, content=a_charge())

    await answer_to(listen)

    assert seen == [
        {
            "attempt_id": ATTEMPT.id.hex,
            "amount_fen": AMOUNT.fen,
            "currency": "CNY",
            "payer_reference": ORDER.payer_id.hex,
            "description": "基本养老保险 2026-11",
            "expires_at": seen[0]["expires_at"],
        }
    ]
    assert abs(datetime.fromisoformat(seen[0]["expires_at"]) - ATTEMPT.expires_at) < timedelta(
        milliseconds=1
    )
