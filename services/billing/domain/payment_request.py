"""Payment request: what billing asked payment to collect, and what it heard about it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import msgspec

from shared.kernel.money import Money
from shared.kernel.transitions import Move, Transitions


class PaymentRequestStatus(StrEnum):
    """Whether the order is still open as far as billing knows."""

    OPEN = "OPEN"
    SETTLED = "SETTLED"
    FAILED = "FAILED"


_S = PaymentRequestStatus
PAYMENT_REQUEST = Transitions(
    "payment_request",
    PaymentRequestStatus,
    initial=_S.OPEN,
    moves=[
        Move(_S.OPEN, _S.SETTLED, "PaymentSettled"),
        Move(_S.OPEN, _S.FAILED, "PaymentFailed"),
        Move(_S.FAILED, _S.SETTLED, "PaymentSettled after MoneyAccepted"),
    ],
)


class PaymentRequest(msgspec.Struct, kw_only=True):
    """One order asked for; `version` is the sequence of the last event told about it.

    `outcome_sequence` is the sequence of the last fact of this order that was applied: one
    that is not above it changes nothing, so a replay is harmless without any inbox.
    """

    payment_order_id: UUID
    contribution_id: UUID
    insured_person_id: UUID
    payer_id: UUID
    channel: str | None
    amount: Money
    currency: str
    scheme: str
    region: str
    period: str
    status: PaymentRequestStatus
    version: int
    ask_count: int
    next_ask_at: datetime
    outcome_sequence: int
    expires_at: datetime
    attempt_id: UUID | None
    reason: str | None
    correlation_id: UUID
    created_at: datetime

    @property
    def is_open(self) -> bool:
        return self.status is _S.OPEN

    def settle(self, *, attempt_id: UUID) -> None:
        self.status = PAYMENT_REQUEST.check(self.status, _S.SETTLED, self.payment_order_id)
        self.attempt_id, self.reason = attempt_id, None

    def fail(self, *, reason: str) -> None:
        self.status = PAYMENT_REQUEST.check(self.status, _S.FAILED, self.payment_order_id)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class AskingPolicy:
    """When to ask again for an outcome: doubling delays up to a cap, a person told on the way."""

    first: timedelta
    cap: timedelta
    asks_before_item: int

    def delay(self, ask_count: int) -> timedelta:
        """How long to wait after so many asks."""
        doublings = min(ask_count, 16)  # beyond this the cap has long been reached
        return min(self.first * (1 << doublings), self.cap)
