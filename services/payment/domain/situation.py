"""Where an order stands for a person: one situation per truth, computed from the whole order."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from services.payment.domain.channel import SHORTEST_EXPIRY
from services.payment.domain.failure_reason import FailureReason
from services.payment.domain.payment_attempt import AttemptStatus, MoneyDecision, PaymentAttempt
from services.payment.domain.payment_order import CHOSEN_BY_PAYER, OrderStatus, PaymentOrder
from services.payment.domain.query_schedule import PROMISES, UNKNOWN_LIMIT, promised_until

# A channel that answers does so in a few seconds; then the honest word is "unknown".
ASKING_LIMIT = timedelta(seconds=15)


# Five minutes of margin, two looks a minute apart, and some room.
CLOSING_LIMIT = timedelta(minutes=10)


class Situation(StrEnum):
    WAITING_FOR_CHOICE = "waiting_for_choice"
    WAITING_FOR_PAYER = "waiting_for_payer"
    WAITING_IN_CASHIER = "waiting_in_cashier"
    WAITING_CHANNEL_STOPPED = "waiting_channel_stopped"
    WAITING_AFTER_DECLINE = "waiting_after_decline"
    WAITING_FOR_THE_END = "waiting_for_the_end"
    CLOSING_ATTEMPT = "closing_attempt"
    CLOSING_ORDER = "closing_order"
    DEBIT_ANNOUNCED = "debit_announced"
    ASKING_CHANNEL = "asking_channel"
    UNKNOWN = "unknown"
    UNKNOWN_STILL = "unknown_still"
    UNKNOWN_CASE = "unknown_case"
    EXPIRED = "expired"
    WRONG_AMOUNT = "wrong_amount"
    CHANNEL_UNAVAILABLE = "channel_unavailable"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    LIMIT_EXCEEDED = "limit_exceeded"
    ACCOUNT_RESTRICTED = "account_restricted"
    REJECTED = "rejected"
    LATE_MONEY = "late_money"
    LATE_MONEY_GOES_BACK = "late_money_goes_back"
    SETTLED = "settled"
    SETTLED_LATE = "settled_late"
    PAID_TWICE = "paid_twice"
    REFUNDED = "refunded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The situation, the attempt it is about, and by when the person hears more."""

    situation: Situation
    attempt: PaymentAttempt | None = None
    next_update_by: datetime | None = None


def standing_of(
    order: PaymentOrder,
    attempts: Sequence[PaymentAttempt],
    *,
    now: datetime,
    stopped: Container[str] = (),
) -> Standing:
    """What is true for the person now; `attempts` are all attempts of the order.

    `stopped` are the channels that take no new payments at present.
    """
    match order.status:
        case OrderStatus.REQUESTED:
            return _while_requested(order, attempts, now=now, stopped=stopped)
        case OrderStatus.FAILED:
            return _after_failure(order, attempts, now)
        case OrderStatus.SETTLED:
            return _after_settlement(order, attempts)
        case OrderStatus.REFUNDED:
            return Standing(situation=Situation.REFUNDED)


def _while_requested(
    order: PaymentOrder,
    attempts: Sequence[PaymentAttempt],
    *,
    now: datetime,
    stopped: Container[str],
) -> Standing:
    unknown = _newest(attempt for attempt in attempts if attempt.unknown_since is not None)
    if unknown is not None and unknown.unknown_since is not None:
        return _unknown(unknown, since=unknown.unknown_since, now=now)
    started = _newest(a for a in attempts if a.status is AttemptStatus.STARTED and a.is_direct)
    if started is not None and started.due_at is not None and started.waits_for_debit(now):
        return Standing(
            situation=Situation.DEBIT_ANNOUNCED, attempt=started, next_update_by=started.due_at
        )
    if started is not None:
        return _asking(started, since=started.debited_since, now=now)
    asked = _newest(a for a in attempts if a.is_open and a.is_asked_since(now - ASKING_LIMIT))
    if asked is not None and asked.asked_at is not None:
        return _asking(asked, since=asked.asked_at, now=now)
    if now + SHORTEST_EXPIRY <= order.expires_at:
        return _with_the_payer(order, attempts, stopped=stopped)
    if now < order.expires_at:
        return Standing(
            situation=Situation.WAITING_FOR_THE_END,
            attempt=_newest(attempts),
            next_update_by=order.expires_at,
        )
    return _over(order, attempts, now=now)


def _asking(attempt: PaymentAttempt, *, since: datetime, now: datetime) -> Standing:
    """Believed for a few seconds; then the honest word is "unknown"."""
    answer_by = since + ASKING_LIMIT
    if now >= answer_by:
        return _unknown(attempt, since=since, now=now)
    return Standing(situation=Situation.ASKING_CHANNEL, attempt=attempt, next_update_by=answer_by)


def _with_the_payer(
    order: PaymentOrder, attempts: Sequence[PaymentAttempt], *, stopped: Container[str]
) -> Standing:
    """Nothing moves before the payer does: in a cashier, or by choosing one."""
    newest = _newest(attempts)
    situation = Situation.WAITING_FOR_PAYER
    if newest is not None and _is_in_its_cashier(newest):
        situation = Situation.WAITING_IN_CASHIER
        if newest.close_wanted_at is not None:
            situation = Situation.CLOSING_ATTEMPT
    elif (newest.channel if newest else order.channel) in stopped:
        situation = Situation.WAITING_CHANNEL_STOPPED
    elif newest is not None and newest.status is AttemptStatus.DECLINED:
        situation = Situation.WAITING_AFTER_DECLINE
    elif newest is None and order.channel == CHOSEN_BY_PAYER:
        situation = Situation.WAITING_FOR_CHOICE
    return Standing(situation=situation, attempt=newest, next_update_by=order.expires_at)


def _is_in_its_cashier(attempt: PaymentAttempt) -> bool:
    """Not where it was given up and its channel does not know it: there is nothing to cancel."""
    is_given_up = attempt.close_wanted_at is not None and attempt.is_absent
    return attempt.status is AttemptStatus.AWAITING_PAYER and not is_given_up


def _over(order: PaymentOrder, attempts: Sequence[PaymentAttempt], *, now: datetime) -> Standing:
    """Its time is over, and the channel has not yet said that nothing was paid."""
    closed_by = order.expires_at + CLOSING_LIMIT
    attempt = _newest(a for a in attempts if a.is_open) or _newest(attempts)
    if now >= closed_by:
        return _unknown(attempt, since=order.expires_at, now=now)
    return Standing(situation=Situation.CLOSING_ORDER, attempt=attempt, next_update_by=closed_by)


def _unknown(attempt: PaymentAttempt | None, *, since: datetime, now: datetime) -> Standing:
    situation = Situation.UNKNOWN
    if now - since >= UNKNOWN_LIMIT:
        situation = Situation.UNKNOWN_CASE
    elif now - since >= PROMISES[0]:
        situation = Situation.UNKNOWN_STILL
    return Standing(
        situation=situation,
        attempt=attempt,
        next_update_by=promised_until(unknown_since=since, now=now),
    )


def _after_failure(
    order: PaymentOrder, attempts: Sequence[PaymentAttempt], now: datetime
) -> Standing:
    paid = _newest(attempt for attempt in attempts if attempt.received is not None)
    if paid is not None and paid.awaits_decision and paid.succeeded_at is not None:
        return Standing(
            situation=Situation.LATE_MONEY,
            attempt=paid,
            next_update_by=promised_until(unknown_since=paid.succeeded_at, now=now),
        )
    if paid is not None and paid.decision is MoneyDecision.REJECTED:
        return Standing(situation=Situation.LATE_MONEY_GOES_BACK, attempt=paid)
    reason = order.reason or FailureReason.REJECTED
    return Standing(situation=Situation(reason.value), attempt=paid or _newest(attempts))


def _after_settlement(order: PaymentOrder, attempts: Sequence[PaymentAttempt]) -> Standing:
    settled_by: UUID | None = order.settlement.attempt_id if order.settlement else None
    second = _newest(a for a in attempts if a.received is not None and a.id != settled_by)
    if second is not None:
        return Standing(situation=Situation.PAID_TWICE, attempt=second)
    return Standing(situation=Situation.SETTLED_LATE if order.was_late else Situation.SETTLED)


def _newest(attempts: Iterable[PaymentAttempt]) -> PaymentAttempt | None:
    return max(attempts, key=lambda attempt: (attempt.created_at, attempt.id), default=None)
