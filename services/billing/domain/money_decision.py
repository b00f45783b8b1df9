"""Money decision: what becomes of money that came unexpectedly, decided once per attempt."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from shared.kernel.money import Money

# A decision never changes, so what is told about it has one sequence for ever.
DECISION_VERSION = 1


class Decision(StrEnum):
    """Keep the money because it pays the contribution, or send it back."""

    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"


class MoneyDecision(msgspec.Struct, frozen=True, kw_only=True):
    """The decision about one attempt; `asked_sequence` is the last question that was answered."""

    attempt_id: UUID
    payment_order_id: UUID
    contribution_id: UUID
    insured_person_id: UUID
    amount: Money
    decision: Decision
    reason: str
    asked_sequence: int
    event_id: UUID
    caused_by_event_id: UUID
    correlation_id: UUID
    decided_at: datetime


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """Money that went back to the payer, finally."""

    refund_id: UUID
    attempt_id: UUID
    payment_order_id: UUID
    contribution_id: UUID
    amount: Money
    reason: str
    sequence: int
    refunded_at: datetime
