"""A refund: money that goes back the way it came. Its id exists once per attempt."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from services.payment.domain.payment_attempt import PaymentAttempt
from shared.kernel.ids import derived_id
from shared.kernel.money import Money
from shared.kernel.transitions import Move, Transitions


class RefundStatus(StrEnum):
    REQUESTED = "REQUESTED"
    SUBMITTED = "SUBMITTED"
    SUCCEEDED = "SUCCEEDED"
    REFUSED = "REFUSED"
    UNKNOWN = "UNKNOWN"


S = RefundStatus
REFUND_TRANSITIONS = Transitions(
    "refund",
    RefundStatus,
    S.REQUESTED,
    (
        Move(S.REQUESTED, S.SUBMITTED, "committed before the channel is called"),
        Move(S.SUBMITTED, S.SUCCEEDED, "the channel paid back"),
        Move(S.SUBMITTED, S.REFUSED, "the channel refused"),
        Move(S.SUBMITTED, S.UNKNOWN, "no usable answer"),
        Move(S.UNKNOWN, S.SUCCEEDED, "a query says paid back"),
        Move(S.UNKNOWN, S.REFUSED, "a query says refused"),
    ),
)


class RefundReason(StrEnum):
    NOT_OWED = "not_owed"
    WRONG_AMOUNT = "wrong_amount"


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    attempt_id: UUID
    order_id: UUID
    amount: Money
    reason: RefundReason
    status: RefundStatus
    requested_at: datetime


def refund_all(attempt: PaymentAttempt, reason: RefundReason, now: datetime) -> Refund:
    """Give back everything that the attempt received, however many ways lead here: one id."""
    if attempt.received is None:
        raise ValueError(f"attempt {attempt.id} received no money")
    return Refund(
        id=derived_id(attempt.id, "auto-refund"),
        attempt_id=attempt.id,
        order_id=attempt.order_id,
        amount=attempt.received,
        reason=reason,
        status=RefundStatus.REQUESTED,
        requested_at=now,
    )
