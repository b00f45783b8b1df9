"""A promised time that passes without an outcome: the person hears of the next one, once."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.payment.domain.channel_answer import (
    Answer,
    AwaitingPayer,
    Declined,
    NotThere,
    Unknown,
    UnknownCause,
)
from services.payment.domain.failure_reason import FailureReason
from services.payment.domain.outcome import decide
from services.payment.domain.payment_attempt import Call
from services.payment.domain.payment_order import fail
from services.payment.domain.query_schedule import promised_until
from services.payment.tests.building import (
    EXPIRES_AT,
    an_attempt,
    an_order,
    an_unknown_attempt,
    asked,
    paid,
)
from shared.kernel.clock import SHANGHAI
from testing.builders import SOME_TIME

NO_ANSWER = Unknown(UnknownCause.TIMEOUT)
MINUTE = timedelta(minutes=1)
PROMISED = timedelta(minutes=15)


def test_a_promise_that_passes_without_an_outcome_owes_news_and_the_next_promise() -> None:
    order = an_order()
    attempt = an_unknown_attempt(order)

    outcome = decide(order, attempt, NO_ANSWER, asked(after=PROMISED))

    assert outcome.owes_news
    assert outcome.attempt.promised_until == SOME_TIME + timedelta(hours=2)
    assert outcome.order.version == order.version + 1


def test_before_the_promised_time_nobody_is_bothered() -> None:
    order = an_order()

    first = decide(order, an_attempt(order), NO_ANSWER, asked())
    again = decide(
        first.order, first.attempt, NO_ANSWER, asked(after=PROMISED - timedelta(seconds=1))
    )

    assert not first.owes_news
    assert not again.owes_news


def test_a_passed_promise_owes_news_once() -> None:
    order = an_order()

    told = decide(order, an_unknown_attempt(order), NO_ANSWER, asked(after=PROMISED))
    again = decide(told.order, told.attempt, NO_ANSWER, asked(after=PROMISED + MINUTE))

    assert told.owes_news
    assert not again.owes_news


def test_promises_missed_while_nobody_worked_owe_one_message_with_the_next_future_time() -> None:
    order = an_order()
    attempt = an_unknown_attempt(order)

    outcome = decide(order, attempt, NO_ANSWER, asked(after=timedelta(hours=5)))
    again = decide(
        outcome.order, outcome.attempt, NO_ANSWER, asked(after=timedelta(hours=5, minutes=5))
    )

    assert outcome.owes_news
    assert outcome.attempt.promised_until == SOME_TIME + timedelta(hours=8)
    assert not again.owes_news


@pytest.mark.parametrize("answer", [paid(), Declined(FailureReason.REJECTED), AwaitingPayer()])
def test_whoever_learns_more_at_the_promised_time_is_owed_no_delay(answer: Answer) -> None:
    order = an_order()

    outcome = decide(order, an_unknown_attempt(order), answer, asked(after=PROMISED))

    assert not outcome.owes_news


def test_nobody_waits_for_news_of_an_order_that_is_over() -> None:
    order = fail(an_order(), FailureReason.EXPIRED)

    outcome = decide(order, an_unknown_attempt(order), NO_ANSWER, asked(after=PROMISED))

    assert not outcome.owes_news


def test_not_there_that_concludes_nothing_keeps_the_promise_too() -> None:
    order = an_order()
    attempt = an_unknown_attempt(order, promised_until=EXPIRES_AT + MINUTE)

    before = decide(order, attempt, NotThere(), asked(after=EXPIRES_AT - SOME_TIME))
    after = decide(order, attempt, NotThere(), asked(after=EXPIRES_AT - SOME_TIME + MINUTE))

    assert not before.owes_news
    assert after.owes_news


def test_not_there_that_sends_again_makes_the_next_promise_with_the_news() -> None:
    order = an_order()

    outcome = decide(order, an_unknown_attempt(order), NotThere(), asked(after=PROMISED))

    assert outcome.owes_news
    assert outcome.attempt.next_call is Call.START
    assert outcome.attempt.promised_until == SOME_TIME + timedelta(hours=2)


def china(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=SHANGHAI).astimezone(UTC)


@pytest.mark.parametrize(
    ("since", "promises"),
    [
        (china(24, 13), [china(24, 13, 15), china(24, 15), china(24, 17), china(24, 21)]),
        (china(24, 19), [china(24, 19, 15), china(24, 21), china(25, 8), china(25, 19)]),
        (china(24, 23, 50), [china(25, 0, 5), china(25, 8), china(26, 8), china(27, 8)]),
        (china(24, 7, 40), [china(24, 7, 55), china(24, 9, 40), china(24, 11, 40)]),
    ],
)
def test_nobody_is_woken_to_hear_that_nothing_is_known(
    since: datetime, promises: list[datetime]
) -> None:
    made, now = [], since

    for _ in promises:
        now = promised_until(unknown_since=since, now=now)
        made.append(now)

    assert made == promises


@given(
    since=st.timedeltas(timedelta(0), timedelta(days=2)).map(SOME_TIME.__add__),
    passed=st.timedeltas(timedelta(0), timedelta(days=5)),
)
def test_a_promise_lies_ahead_stays_until_it_passes_and_is_at_most_a_day_and_a_night_off(
    since: datetime, passed: timedelta
) -> None:
    now = since + passed

    promise = promised_until(unknown_since=since, now=now)

    assert now < promise <= now + timedelta(hours=34)
    just_before = promise - timedelta(microseconds=1)
    assert promised_until(unknown_since=since, now=just_before) == promise
