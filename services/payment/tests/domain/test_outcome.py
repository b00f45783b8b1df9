"""What an answer means: the rules of money, without a database."""

from dataclasses import replace
from datetime import timedelta

import pytest
from msgspec import structs

from services.payment.domain.channel_answer import (
    Answer,
    AwaitingPayer,
    Closed,
    Declined,
    NeverSent,
    NotThere,
    Unknown,
    UnknownCause,
)
from services.payment.domain.failure_reason import FailureReason
from services.payment.domain.operator_item import ItemKind
from services.payment.domain.outcome import Asking, Outcome, decide
from services.payment.domain.payment_attempt import AttemptStatus, Call, PaymentAttempt
from services.payment.domain.payment_order import (
    OrderStatus,
    PaymentOrder,
    Settlement,
    fail,
    settle,
)
from services.payment.domain.refund import RefundReason
from services.payment.tests.building import (
    AMOUNT,
    BANK,
    CASHIER,
    EXPIRES_AT,
    an_attempt,
    an_order,
    an_unknown_attempt,
    asked,
    paid,
)
from shared.kernel.errors import Contradiction
from shared.kernel.ids import new_id
from shared.kernel.money import Money
from testing.builders import SOME_TIME

TIMED_OUT = Unknown(UnknownCause.TIMEOUT)
MINUTE = timedelta(minutes=1)
HALF_AN_HOUR = timedelta(minutes=30)
AFTER_MARGIN = EXPIRES_AT + timedelta(minutes=5) - SOME_TIME


def test_success_with_the_exact_amount_settles_the_order() -> None:
    order = an_order()
    attempt = an_attempt(order)

    outcome = decide(order, attempt, paid(), asked(Call.START))

    assert outcome.order.status is OrderStatus.SETTLED
    assert outcome.order.settled_version == outcome.order.version == 2
    assert outcome.order.settlement is not None
    assert outcome.order.settlement.attempt_id == attempt.id
    assert outcome.attempt.status is AttemptStatus.SUCCEEDED
    assert outcome.attempt.due_at is None
    assert outcome.attempt.version == attempt.version + 1


def test_a_settlement_says_from_when_to_when_only_the_channel_could_act() -> None:
    order, asking = an_order(), asked(Call.QUERY)
    sent_at = asking.now - MINUTE
    debit = structs.replace(an_attempt(order), first_sent_at=sent_at, method=None)
    cashier = structs.replace(debit, method="qr")
    answer = paid(at=asking.now - MINUTE / 2)

    by_debit = decide(order, debit, answer, asking).order.settlement
    by_cashier = decide(order, cashier, answer, asking).order.settlement

    assert by_debit is not None
    assert by_cashier is not None
    assert (by_debit.asked_at, by_debit.confirmed_at) == (sent_at, asking.now)
    assert by_cashier.asked_at == answer.at
    assert by_cashier.confirmed_at == asking.now


@pytest.mark.parametrize("cause", list(UnknownCause))
@pytest.mark.parametrize("call", [Call.START, Call.QUERY])
def test_no_kind_of_unknown_ever_fails_an_order(call: Call, cause: UnknownCause) -> None:
    order = an_order()
    attempt = an_attempt(order)

    outcome = decide(order, attempt, Unknown(cause), asked(call))

    assert outcome.order.status is OrderStatus.REQUESTED
    assert outcome.attempt.status is AttemptStatus.UNKNOWN
    assert outcome.attempt.next_call is Call.QUERY
    assert outcome.attempt.due_at is not None


def test_unknown_is_asked_about_after_a_second_then_ever_more_slowly() -> None:
    order = an_order()
    now = timedelta(seconds=5)
    delays = []
    for query_count in range(7):
        attempt = an_unknown_attempt(order, query_count=query_count)
        outcome = decide(order, attempt, TIMED_OUT, asked(after=now))
        assert outcome.attempt.due_at is not None
        delays.append((outcome.attempt.due_at - SOME_TIME - now).total_seconds())

    assert delays == [1, 2, 5, 15, 60, 300, 300]


def test_a_query_is_due_when_a_promise_ends_and_the_next_promise_is_made() -> None:
    order = an_order()
    attempt = an_unknown_attempt(order, query_count=10)

    before = decide(order, attempt, TIMED_OUT, asked(after=timedelta(minutes=13)))
    after = decide(order, attempt, TIMED_OUT, asked(after=timedelta(minutes=15)))

    assert before.attempt.due_at == SOME_TIME + timedelta(minutes=15)
    assert before.order.version == order.version
    assert after.attempt.promised_until == SOME_TIME + timedelta(hours=2)
    assert after.order.version == order.version + 1


def test_after_a_day_of_unknown_a_person_must_look_and_queries_go_on_slowly() -> None:
    order = an_order()
    attempt = an_unknown_attempt(order, query_count=300)

    early = decide(order, attempt, TIMED_OUT, asked(after=timedelta(hours=23)))
    late = decide(order, attempt, TIMED_OUT, asked(after=timedelta(hours=24)))

    assert early.items == ()
    assert [item.kind for item in late.items] == [ItemKind.OUTCOME_UNKNOWN]
    assert late.attempt.due_at == SOME_TIME + timedelta(hours=25)
    assert late.attempt.status is AttemptStatus.UNKNOWN


def test_a_decline_fails_the_order_of_a_direct_channel_with_the_channels_reason() -> None:
    order = an_order()
    attempt = an_unknown_attempt(order)

    outcome = decide(order, attempt, Declined(FailureReason.INSUFFICIENT_FUNDS), asked())

    assert outcome.order.status is OrderStatus.FAILED
    assert outcome.order.reason is FailureReason.INSUFFICIENT_FUNDS
    assert outcome.order.failed_version == outcome.order.version
    assert outcome.attempt.status is AttemptStatus.DECLINED


def test_a_decline_at_a_cashier_leaves_the_order_open() -> None:
    order = an_order()
    attempt = an_attempt(order)

    outcome = decide(
        order, attempt, Declined(FailureReason.REJECTED), structs.replace(asked(), channel=CASHIER)
    )

    assert outcome.order.status is OrderStatus.REQUESTED
    assert outcome.attempt.status is AttemptStatus.DECLINED
    assert outcome.attempt.due_at is None


def test_not_there_before_the_expiry_sends_the_same_attempt_again() -> None:
    order = an_order()

    first = decide(order, an_attempt(order), NotThere(), asked())
    third = decide(order, an_unknown_attempt(order, send_count=3), NotThere(), asked())

    assert first.attempt.next_call is Call.START
    assert first.attempt.due_at == SOME_TIME + timedelta(seconds=1)
    assert first.attempt.status is AttemptStatus.STARTED
    assert third.attempt.next_call is Call.START
    assert third.attempt.due_at == SOME_TIME + timedelta(seconds=6)


def test_not_there_outside_the_idempotency_window_never_sends_again() -> None:
    order = an_order()
    attempt = an_unknown_attempt(order)
    forgetful = replace(BANK, idempotency_window=timedelta(minutes=1))
    asking = structs.replace(asked(after=timedelta(minutes=2)), channel=forgetful)

    outcome = decide(order, attempt, NotThere(), asking)

    assert outcome.attempt.next_call is Call.QUERY
    assert outcome.order.status is OrderStatus.REQUESTED


def test_not_there_in_the_answer_to_a_send_does_not_send_again() -> None:
    order = an_order()

    outcome = decide(order, an_attempt(order), NotThere(), asked(Call.START))

    assert outcome.attempt.next_call is Call.QUERY
    assert outcome.order.status is OrderStatus.REQUESTED


def test_not_there_between_expiry_and_margin_neither_sends_nor_closes() -> None:
    order = an_order()
    attempt = an_unknown_attempt(order, query_count=9)

    outcome = decide(order, attempt, NotThere(), asked(after=HALF_AN_HOUR + timedelta(minutes=1)))

    assert outcome.order.status is OrderStatus.REQUESTED
    assert outcome.attempt.next_call is Call.QUERY
    assert outcome.attempt.not_there_count == 0
    assert outcome.attempt.due_at == EXPIRES_AT + timedelta(minutes=5)


def test_not_there_closes_only_the_second_time_a_minute_later_after_the_margin() -> None:
    order = an_order()

    once = decide(order, an_unknown_attempt(order), NotThere(), asked(after=AFTER_MARGIN))
    too_soon = decide(
        order, once.attempt, NotThere(), asked(after=AFTER_MARGIN + timedelta(seconds=59))
    )
    twice = decide(
        order, too_soon.attempt, NotThere(), asked(after=AFTER_MARGIN + timedelta(seconds=60))
    )

    assert once.order.status is too_soon.order.status is OrderStatus.REQUESTED
    assert once.attempt.due_at == SOME_TIME + AFTER_MARGIN + timedelta(minutes=1)
    assert too_soon.attempt.due_at == once.attempt.due_at
    assert twice.attempt.status is AttemptStatus.CLOSED
    assert twice.order.status is OrderStatus.FAILED
    assert twice.order.reason is FailureReason.EXPIRED


def test_awaiting_the_payer_in_between_starts_the_count_of_not_there_anew() -> None:
    order = an_order()

    once = decide(order, an_unknown_attempt(order), NotThere(), asked(after=AFTER_MARGIN))
    there = decide(order, once.attempt, AwaitingPayer(), asked(after=AFTER_MARGIN))
    again = decide(
        order, there.attempt, NotThere(), asked(after=AFTER_MARGIN + timedelta(minutes=2))
    )

    assert there.attempt.not_there_count == 0
    assert again.attempt.status is AttemptStatus.AWAITING_PAYER
    assert again.attempt.not_there_count == 1


def test_time_that_ran_out_before_the_first_send_closes_without_asking() -> None:
    order = an_order()
    attempt = an_attempt(order, send_count=0, first_sent_at=None, next_call=Call.START)

    outcome = decide(order, attempt, NeverSent(), asked(after=HALF_AN_HOUR))

    assert outcome.attempt.status is AttemptStatus.CLOSED
    assert outcome.order.reason is FailureReason.EXPIRED


def test_never_sent_is_refused_for_an_attempt_that_was_sent() -> None:
    order = an_order()

    with pytest.raises(Contradiction):
        decide(order, an_attempt(order), NeverSent(), asked())


def test_a_wrong_amount_in_the_answer_to_a_send_is_unknown_until_a_query_confirms_it() -> None:
    order = an_order()
    attempt = an_attempt(order)
    wrong = paid(amount=Money(AMOUNT.fen - 1))

    unconfirmed = decide(order, attempt, wrong, asked(Call.START))
    confirmed = decide(order, unconfirmed.attempt, wrong, asked(Call.QUERY))

    assert unconfirmed.order.status is OrderStatus.REQUESTED
    assert unconfirmed.attempt.status is AttemptStatus.UNKNOWN
    assert unconfirmed.attempt.due_at == SOME_TIME + timedelta(seconds=1)
    assert confirmed.order.status is OrderStatus.FAILED
    assert confirmed.order.reason is FailureReason.WRONG_AMOUNT
    assert confirmed.attempt.status is AttemptStatus.SUCCEEDED
    assert confirmed.attempt.received == Money(AMOUNT.fen - 1)
    assert not confirmed.attempt.awaits_decision
    assert {item.kind for item in confirmed.items} == {
        ItemKind.WRONG_AMOUNT,
        ItemKind.REFUND_DUE,
    }
    assert confirmed.refund is not None
    assert confirmed.refund.amount == Money(AMOUNT.fen - 1)
    assert confirmed.refund.reason is RefundReason.WRONG_AMOUNT


def test_the_right_amount_after_a_wrong_one_settles() -> None:
    order = an_order()
    unconfirmed = decide(order, an_attempt(order), paid(amount=Money(1)), asked(Call.START))

    outcome = decide(unconfirmed.order, unconfirmed.attempt, paid(), asked())

    assert outcome.order.status is OrderStatus.SETTLED
    assert outcome.refund is None


def a_failed_order() -> PaymentOrder:
    return fail(an_order(), FailureReason.EXPIRED)


def a_settled_order() -> PaymentOrder:
    settlement = Settlement(
        attempt_id=new_id(), channel="c", channel_trade_no="T0", settled_at=SOME_TIME
    )
    return settle(an_order(), settlement)


@pytest.mark.parametrize("order", [a_failed_order(), a_settled_order()], ids=["late", "second"])
@pytest.mark.parametrize(
    "status", [AttemptStatus.CLOSED, AttemptStatus.DECLINED, AttemptStatus.STARTED]
)
def test_success_for_an_order_that_is_not_open_is_unexpected_money(
    order: PaymentOrder, status: AttemptStatus
) -> None:
    attempt = an_attempt(order, status=status)

    outcome = decide(order, attempt, paid(), asked())

    assert outcome.order.status is order.status
    assert outcome.order.settlement == order.settlement
    assert outcome.attempt.status is AttemptStatus.SUCCEEDED
    assert outcome.attempt.unexpected_sequence == 1
    assert outcome.attempt.awaits_decision
    assert outcome.attempt.due_at is not None


def test_a_wrong_amount_that_comes_late_goes_back_without_asking_billing() -> None:
    order = a_failed_order()
    attempt = an_attempt(order, status=AttemptStatus.CLOSED)

    outcome = decide(order, attempt, paid(amount=Money(7)), asked())

    assert outcome.order.status is OrderStatus.FAILED
    assert outcome.order.reason is FailureReason.EXPIRED
    assert outcome.attempt.unexpected_sequence == 0
    assert outcome.refund is not None


def a_succeeded(order: PaymentOrder) -> Outcome:
    return decide(order, an_attempt(order), paid(), asked())


def test_the_same_success_twice_changes_nothing() -> None:
    first = a_succeeded(an_order())

    second = decide(first.order, first.attempt, paid(), asked(after=timedelta(hours=1)))

    assert second == Outcome(first.order, first.attempt)


@pytest.mark.parametrize(
    "answer",
    [
        paid(trade_no="T2"),
        paid(amount=Money(1)),
        Declined(FailureReason.REJECTED),
        NotThere(),
        AwaitingPayer(),
    ],
)
def test_a_channel_that_takes_back_a_success_is_a_contradiction(answer: Answer) -> None:
    first = a_succeeded(an_order())

    with pytest.raises(Contradiction):
        decide(first.order, first.attempt, answer, asked())


@pytest.mark.parametrize("status", [AttemptStatus.DECLINED, AttemptStatus.CLOSED])
@pytest.mark.parametrize(
    "answer", [Declined(FailureReason.REJECTED), NotThere(), AwaitingPayer(), TIMED_OUT]
)
def test_after_the_end_only_money_is_news(answer: Answer, status: AttemptStatus) -> None:
    order = a_failed_order()
    attempt = an_attempt(order, status=status, due_at=None)

    assert decide(order, attempt, answer, asked()) == Outcome(order, attempt)


def test_the_version_of_an_order_moves_with_what_people_can_see_of_it() -> None:
    order = an_order()
    attempt = an_attempt(order)

    unknown = decide(order, attempt, TIMED_OUT, asked(Call.START))
    still = decide(unknown.order, unknown.attempt, TIMED_OUT, asked(after=timedelta(seconds=3)))
    settled = decide(still.order, still.attempt, paid(), asked())

    versions = [step.order.version for step in (unknown, still, settled)]
    assert versions == [2, 2, 3]
    assert settled.order.settled_version == 3


OPEN = (AttemptStatus.STARTED, AttemptStatus.AWAITING_PAYER, AttemptStatus.UNKNOWN)
ANSWERS: tuple[Answer, ...] = (
    paid(),
    paid(amount=Money(1)),
    Declined(FailureReason.REJECTED),
    AwaitingPayer(),
    TIMED_OUT,
    NotThere(),
)


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("status", OPEN)
@pytest.mark.parametrize("minutes", [0, 29, 31, 36, 60 * 30])
def test_an_open_attempt_is_always_due_again(
    status: AttemptStatus, answer: Answer, minutes: int
) -> None:
    order = an_order()
    attempt: PaymentAttempt = an_unknown_attempt(order, query_count=5)
    if status is not AttemptStatus.UNKNOWN:
        attempt = an_attempt(order, status=status, query_count=5)
    asking = asked(after=timedelta(minutes=minutes))

    outcome = decide(order, attempt, answer, asking)

    if outcome.attempt.is_open:
        assert outcome.attempt.due_at is not None
        assert outcome.attempt.due_at >= asking.now
        assert outcome.attempt.due_at <= asking.now + timedelta(hours=1)
    else:
        assert outcome.attempt.due_at is None


def test_what_a_direct_channel_closed_fails_the_order_as_expired() -> None:
    order = an_order()

    outcome = decide(order, an_attempt(order), Closed(), asked())

    assert outcome.attempt.status is AttemptStatus.CLOSED
    assert outcome.order.reason is FailureReason.EXPIRED


def waiting(order: PaymentOrder, **fields: object) -> PaymentAttempt:
    """An attempt whose payer is in the cashier."""
    return an_attempt(order, **{"method": "wap", "status": AttemptStatus.AWAITING_PAYER} | fields)


def cashier(call: Call = Call.QUERY, *, after: timedelta = timedelta(seconds=1)) -> Asking:
    return structs.replace(asked(call, after=after), channel=CASHIER)


def test_what_a_cashier_closed_leaves_the_order_open_for_another_try() -> None:
    order = an_order()

    outcome = decide(order, waiting(order), Closed(), cashier(Call.CLOSE))

    assert outcome.attempt.status is AttemptStatus.CLOSED
    assert outcome.attempt.reason is None
    assert outcome.order.is_open
    assert outcome.order.version == order.version + 1


def test_money_that_comes_after_the_close_still_pays_an_open_order() -> None:
    order = an_order()
    closed = decide(order, waiting(order), Closed(), cashier(Call.CLOSE))

    outcome = decide(closed.order, closed.attempt, paid(), cashier(Call.NOTIFICATION))

    assert outcome.order.status is OrderStatus.SETTLED


def test_money_through_a_second_cashier_is_unexpected() -> None:
    order = an_order()
    first, second = waiting(order), waiting(order)
    settled = decide(order, first, paid(), cashier(Call.NOTIFICATION)).order

    outcome = decide(settled, second, paid(trade_no="T2"), cashier(Call.NOTIFICATION))

    assert outcome.order.settlement == settled.settlement
    assert outcome.attempt.awaits_decision


def test_a_cashier_is_never_sent_again_without_the_payer() -> None:
    order = an_order()

    outcome = decide(order, waiting(order), NotThere(), cashier())

    assert outcome.attempt.next_call is Call.QUERY
    assert outcome.attempt.status is AttemptStatus.AWAITING_PAYER


def test_a_cashier_that_does_not_start_leaves_nothing_unknown() -> None:
    order = an_order()
    started = waiting(order, status=AttemptStatus.STARTED)

    outcome = decide(order, started, TIMED_OUT, cashier(Call.START))

    assert outcome.attempt.status is AttemptStatus.STARTED
    assert outcome.attempt.due_at is not None


def test_a_cashier_that_knows_nothing_yet_waits_for_its_payer_again() -> None:
    order = an_order()
    unknown = decide(order, waiting(order), TIMED_OUT, cashier())

    outcome = decide(unknown.order, unknown.attempt, NotThere(), cashier())

    assert unknown.attempt.status is AttemptStatus.UNKNOWN
    assert outcome.attempt.status is AttemptStatus.AWAITING_PAYER


def test_a_cashier_that_knows_nothing_closes_late_and_after_two_looks() -> None:
    order = an_order()
    before = decide(order, waiting(order), NotThere(), cashier(after=AFTER_MARGIN - MINUTE))
    once = decide(order, before.attempt, NotThere(), cashier(after=AFTER_MARGIN))
    soon = decide(order, once.attempt, NotThere(), cashier(after=AFTER_MARGIN + MINUTE / 2))
    twice = decide(order, soon.attempt, NotThere(), cashier(after=AFTER_MARGIN + MINUTE))

    assert [o.attempt.status for o in (before, once, soon)] == [AttemptStatus.AWAITING_PAYER] * 3
    assert twice.attempt.status is AttemptStatus.CLOSED
    assert twice.attempt.reason is FailureReason.EXPIRED


def test_a_wrong_amount_in_a_notification_is_confirmed_by_a_query_first() -> None:
    order = an_order()
    wrong = paid(amount=Money(1))

    told = decide(order, waiting(order), wrong, cashier(Call.NOTIFICATION))
    confirmed = decide(told.order, told.attempt, wrong, cashier())

    assert told.attempt.status is AttemptStatus.UNKNOWN
    assert told.attempt.due_at == cashier().now
    assert told.refund is None
    assert confirmed.order.reason is FailureReason.WRONG_AMOUNT
    assert confirmed.refund is not None
    assert confirmed.refund.amount == Money(1)


def test_a_silent_cashier_is_asked_often_at_first_then_seldom_and_at_its_expiry() -> None:
    order = an_order()
    attempt = waiting(order)
    waits = []
    for seconds in (1, 60, 300, 900, 29 * 60):
        now = timedelta(seconds=seconds)
        due_at = decide(order, attempt, AwaitingPayer(), cashier(after=now)).attempt.due_at
        assert due_at is not None
        waits.append((due_at - SOME_TIME - now).total_seconds())

    assert waits == [5, 15, 60, 300, 60]


def test_a_payer_who_asks_is_answered_from_frequent_queries() -> None:
    order = an_order()
    later = timedelta(minutes=20)
    attempt = waiting(order, asked_at=SOME_TIME + later)

    outcome = decide(order, attempt, AwaitingPayer(), cashier(after=later))

    assert outcome.attempt.due_at == SOME_TIME + later + timedelta(seconds=1)


@pytest.mark.parametrize("answer", [AwaitingPayer(), Unknown(UnknownCause.TIMEOUT)])
def test_what_the_channel_knows_or_does_not_answer_about_is_not_absent(answer: Answer) -> None:
    order = an_order()
    absent = decide(order, waiting(order), NotThere(), cashier()).attempt

    heard = decide(order, absent, answer, cashier(after=MINUTE)).attempt

    assert absent.is_absent
    assert not heard.is_absent
