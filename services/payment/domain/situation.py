"""Where an order stands for a person: one situation per truth, computed from the whole order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from services.payment.domain.failure_reason import FailureReason
from services.payment.domain.payment_attempt import AttemptStatus, MoneyDecision, PaymentAttempt
from services.payment.domain.payment_order import OrderStatus, PaymentOrder
from services.payment.domain.query_schedule import PROMISES, UNKNOWN_LIMIT, promised_until

# A channel that answers does so in a few seconds; then the honest word is "unknown".
ASKING_LIMIT = timedelta(seconds=15)


class Situation(StrEnum):
    WAITING_FOR_PAYER = "waiting_for_payer"
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
    order: PaymentOrder, attempts: Sequence[PaymentAttempt], *, now: datetime
) -> Standing:
    """What is true for the person now; `attempts` are all attempts of the order."""
    match order.status:
        case OrderStatus.REQUESTED:
            return _while_requested(order, attempts, now)
        case OrderStatus.FAILED:
            return _after_failure(order, attempts, now)
        case OrderStatus.SETTLED:
            return _after_settlement(order, attempts)
        case OrderStatus.REFUNDED:
            return Standing(situation=Situation.REFUNDED)


def _while_requested(
    order: PaymentOrder, attempts: Sequence[PaymentAttempt], now: datetime
) -> Standing:
    unknown = _newest(attempt for attempt in attempts if attempt.unknown_since is not None)
    if unknown is not None and unknown.unknown_since is not None:
        return _unknown(unknown, since=unknown.unknown_since, now=now)
    started = _newest(a for a in attempts if a.status is AttemptStatus.STARTED)
    if started is not None:
        answer_by = started.created_at + ASKING_LIMIT
        if now < answer_by:
            return Standing(
                situation=Situation.ASKING_CHANNEL, attempt=started, next_update_by=answer_by
            )
        return _unknown(started, since=started.created_at, now=now)
    if now < order.expires_at:
        return Standing(situation=Situation.WAITING_FOR_PAYER, next_update_by=order.expires_at)
    return _unknown(_newest(attempts), since=order.expires_at, now=now)


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
