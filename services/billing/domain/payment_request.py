"""Payment request: what billing asked payment to collect, and what it heard about it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import msgspec
from msgspec.structs import replace

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


class PaymentRequest(msgspec.Struct, frozen=True, kw_only=True):
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


def settled(request: PaymentRequest, *, attempt_id: UUID) -> PaymentRequest:
    """Its money came, at once or late. Raises Contradiction where it was settled before."""
    status = PAYMENT_REQUEST.check(request.status, _S.SETTLED, request.payment_order_id)
    return replace(request, status=status, attempt_id=attempt_id, reason=None)


def failed(request: PaymentRequest, *, reason: str) -> PaymentRequest:
    """Nobody collects it any more. Raises Contradiction unless it is open."""
    status = PAYMENT_REQUEST.check(request.status, _S.FAILED, request.payment_order_id)
    return replace(request, status=status, reason=reason)


def asked(request: PaymentRequest) -> PaymentRequest:
    """Its outcome is asked for once more: a version of its own, whose event says so."""
    return replace(request, version=request.version + 1, ask_count=request.ask_count + 1)


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
