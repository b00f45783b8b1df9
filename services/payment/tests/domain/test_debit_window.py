"""Accounts are debited after notice and by day, or the order says at once that it cannot be."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from services.payment.domain.channel_answer import NotThere
from services.payment.domain.debit_window import DebitWindow, debit_window
from services.payment.domain.failure_reason import FailureReason
from services.payment.domain.opening import Opening, Origin, open_order
from services.payment.domain.outcome import Outcome, decide
from services.payment.domain.payment_attempt import Call, PaymentAttempt
from services.payment.domain.situation import Situation, standing_of
from services.payment.tests.building import BANK, an_attempt, an_order, an_unknown_attempt, asked
from shared.kernel.clock import SHANGHAI
from shared.kernel.ids import new_id
from testing.builders import SOME_TIME, payment_requested

HOUR = timedelta(hours=1)
BY_DAY = debit_window(notice=24 * HOUR, hours="08:00-20:00")


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=SHANGHAI).astimezone(UTC)


@pytest.mark.parametrize(
    ("announced", "debited"),
    [
        (at(24, 12), at(25, 12)),
        (at(24, 7, 59), at(25, 8)),
        (at(24, 8), at(25, 8)),
        (at(24, 19, 59), at(25, 19, 59)),
        (at(24, 20), at(26, 8)),
        (at(24, 23, 30), at(26, 8)),
    ],
)
def test_a_debit_waits_for_its_notice_and_then_for_the_day(
    announced: datetime, debited: datetime
) -> None:
    assert BY_DAY.first_at(announced) == debited


def test_no_notice_and_all_day_debits_at_once() -> None:
    window = debit_window(notice=timedelta(0), hours="00:00-24:00")

    for hour in range(24):
        assert window.first_at(at(24, hour, 59)) == at(24, hour, 59)


@pytest.mark.parametrize("hours", ["", "8-20", "20:00-08:00", "08:00-08:00", "08:00-24:30", "x"])
def test_hours_that_are_no_hours_are_refused(hours: str) -> None:
    with pytest.raises(ValueError, match="hours"):
        debit_window(notice=timedelta(0), hours=hours)


def opened(window: DebitWindow, *, lifetime: timedelta) -> Opening:
    request = payment_requested(expires_at=SOME_TIME + lifetime)
    return open_order(
        request,
        origin=Origin(sequence=1, correlation_id=new_id(), causation_id=new_id()),
        channel_id=BANK.id,
        channel=replace(BANK, debit_window=window),
        attempt_id=new_id(),
        now=SOME_TIME,
    )


def test_an_order_that_lives_long_enough_is_announced_and_debited_in_its_time() -> None:
    opening = opened(BY_DAY, lifetime=72 * HOUR)

    assert opening.attempt is not None
    assert opening.attempt.due_at == BY_DAY.first_at(SOME_TIME)
    standing = standing_of(opening.order, [opening.attempt], now=SOME_TIME + HOUR)
    assert standing.situation is Situation.DEBIT_ANNOUNCED
    assert standing.next_update_by == opening.attempt.due_at


def test_an_order_that_ends_before_it_may_be_debited_fails_at_once() -> None:
    opening = opened(BY_DAY, lifetime=HOUR)

    assert opening.attempt is None
    assert opening.order.reason is FailureReason.CHANNEL_UNAVAILABLE


def test_a_debit_that_never_arrived_is_sent_again_by_day_only() -> None:
    # SOME_TIME is 12:30 in China.
    order = an_order(expires_at=SOME_TIME + 72 * HOUR)
    attempt = an_attempt(order, expires_at=order.expires_at)
    channel = replace(BANK, debit_window=debit_window(notice=24 * HOUR, hours="08:00-12:30"))

    outcome = decide(order, attempt, NotThere(), structs.replace(asked(), channel=channel))

    assert outcome.attempt.next_call is Call.START
    assert outcome.attempt.due_at == at(25, 8)


def test_a_debit_that_was_put_off_to_the_morning_keeps_the_promises_of_the_night() -> None:
    # 19:55 in China: unknown, and only after eight does the bank say that it has nothing.
    sent_at = at(24, 19, 55)
    order = an_order(expires_at=sent_at + 72 * HOUR)
    attempt = an_unknown_attempt(
        order,
        first_sent_at=sent_at,
        unknown_since=sent_at,
        promised_until=at(24, 20, 10),
        expires_at=order.expires_at,
    )
    channel = replace(BANK, debit_window=BY_DAY)

    def not_there(attempt: PaymentAttempt, now: datetime) -> Outcome:
        asking = structs.replace(asked(after=now - SOME_TIME), channel=channel)
        return decide(order, attempt, NotThere(), asking)

    late = not_there(attempt, at(24, 20, 1))
    promised = not_there(late.attempt, at(24, 20, 10))
    night = not_there(promised.attempt, at(24, 21, 55))

    assert not late.owes_news
    assert (late.attempt.next_call, late.attempt.due_at) == (Call.QUERY, at(24, 20, 10))
    assert promised.owes_news
    assert promised.attempt.due_at == promised.attempt.promised_until == at(24, 21, 55)
    assert night.owes_news
    assert (night.attempt.next_call, night.attempt.due_at) == (Call.START, at(25, 8))
