"""Contribution: an amount owed for one period, and the states it goes through."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from services.billing.domain.assessment import Assessment
from shared.kernel.events import Share
from shared.kernel.money import Money
from shared.kernel.transitions import Move, Transitions

# Why an assessed contribution is owed again after it had been paid.
REFUNDED = "refunded"
# Why a contribution is paid although its order had failed: money that came late.
LATE_MONEY = "late_money"


class ContributionStatus(StrEnum):
    """Where a contribution is."""

    ASSESSED = "ASSESSED"
    PAYMENT_PENDING = "PAYMENT_PENDING"
    PAID = "PAID"
    CREDITED = "CREDITED"
    CREDIT_REFUSED = "CREDIT_REFUSED"
    SUPERSEDED = "SUPERSEDED"


_S = ContributionStatus
CONTRIBUTION = Transitions(
    "contribution",
    ContributionStatus,
    initial=_S.ASSESSED,
    moves=[
        Move(_S.ASSESSED, _S.PAYMENT_PENDING, "PaymentRequested"),
        Move(_S.ASSESSED, _S.SUPERSEDED, "assessed with another base"),
        Move(_S.ASSESSED, _S.PAID, "MoneyAccepted"),
        Move(_S.PAYMENT_PENDING, _S.PAID, "PaymentSettled"),
        Move(_S.PAYMENT_PENDING, _S.ASSESSED, "PaymentFailed"),
        Move(_S.PAID, _S.ASSESSED, "PaymentRefunded of the attempt that paid"),
        Move(_S.PAID, _S.CREDITED, "the authority recorded it"),
        Move(_S.PAID, _S.CREDIT_REFUSED, "the authority refused it"),
    ],
)
# The money is here; another payment would be a second one.
HAS_MONEY = frozenset({_S.PAID, _S.CREDITED, _S.CREDIT_REFUSED})


class Contribution(msgspec.Struct, kw_only=True):
    """One contribution; `version` grows with every move, `payment_order_id` is its latest order.

    `reason` says why the state was reached where there is more than one way to it.
    """

    id: UUID
    insured_person_id: UUID
    scheme: str
    region: str
    period: str
    base: Money
    amount: Money
    currency: str
    shares: tuple[Share, ...]
    rule_id: str
    provisional: bool
    supersedes: UUID | None
    status: ContributionStatus
    version: int
    payment_order_id: UUID | None
    reason: str | None
    can_retry: bool
    paid_by_attempt_id: UUID | None
    paid_at: datetime | None
    correlation_id: UUID
    created_at: datetime

    def is_assessed_as(self, assessment: Assessment) -> bool:
        """Whether assessing again would change nothing for the person."""
        return (self.region, self.base) == (assessment.region, assessment.base)

    def supersede(self) -> None:
        self._move(_S.SUPERSEDED)

    def await_payment(self, payment_order_id: UUID) -> None:
        self._move(_S.PAYMENT_PENDING)
        self.payment_order_id = payment_order_id

    def pay(self, *, attempt_id: UUID, paid_at: datetime, reason: str | None = None) -> None:
        self._move(_S.PAID, reason=reason)
        self.paid_by_attempt_id, self.paid_at = attempt_id, paid_at

    def reopen(self, *, reason: str, can_retry: bool) -> None:
        """Owed again: the order failed, or the money that paid it went back."""
        self._move(_S.ASSESSED, reason=reason, can_retry=can_retry)
        self.paid_by_attempt_id, self.paid_at = None, None

    def _move(
        self, target: ContributionStatus, *, reason: str | None = None, can_retry: bool = False
    ) -> None:
        self.status = CONTRIBUTION.check(self.status, target, self.id)
        self.version += 1
        self.reason, self.can_retry = reason, can_retry


def new_contribution(
    assessment: Assessment,
    *,
    contribution_id: UUID,
    insured_person_id: UUID,
    supersedes: UUID | None,
    correlation_id: UUID,
    created_at: datetime,
    currency: str,
) -> Contribution:
    """A contribution as it is assessed, at version 1."""
    return Contribution(
        id=contribution_id,
        insured_person_id=insured_person_id,
        scheme=assessment.scheme,
        region=assessment.region,
        period=assessment.period,
        base=assessment.base,
        amount=assessment.amount,
        currency=currency,
        shares=assessment.shares,
        rule_id=assessment.rule_id,
        provisional=assessment.provisional,
        supersedes=supersedes,
        status=CONTRIBUTION.initial,
        version=1,
        payment_order_id=None,
        reason=None,
        can_retry=False,
        paid_by_attempt_id=None,
        paid_at=None,
        correlation_id=correlation_id,
        created_at=created_at,
    )
