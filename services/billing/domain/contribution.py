"""Contribution: an amount owed for one period, and the states it goes through."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec
from msgspec.structs import replace

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


class Contribution(msgspec.Struct, frozen=True, kw_only=True):
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


def supersede(contribution: Contribution) -> Contribution:
    """Assessed with another base. Raises Contradiction unless nothing was begun."""
    return _moved(contribution, _S.SUPERSEDED)


def await_payment(contribution: Contribution, payment_order_id: UUID) -> Contribution:
    """An order was asked for. Raises Contradiction unless it is owed."""
    waiting = _moved(contribution, _S.PAYMENT_PENDING)
    return replace(waiting, payment_order_id=payment_order_id)


def pay(
    contribution: Contribution, *, attempt_id: UUID, paid_at: datetime, reason: str | None = None
) -> Contribution:
    """The money of this attempt is here. Raises Contradiction where other money is."""
    paid = _moved(contribution, _S.PAID, reason=reason)
    return replace(paid, paid_by_attempt_id=attempt_id, paid_at=paid_at)


def reopen(contribution: Contribution, *, reason: str, can_retry: bool) -> Contribution:
    """Owed again: the order failed, or the money that paid it went back."""
    owed = _moved(contribution, _S.ASSESSED, reason=reason, can_retry=can_retry)
    return replace(owed, paid_by_attempt_id=None, paid_at=None)


def _moved(
    contribution: Contribution,
    target: ContributionStatus,
    *,
    reason: str | None = None,
    can_retry: bool = False,
) -> Contribution:
    return replace(
        contribution,
        status=CONTRIBUTION.check(contribution.status, target, contribution.id),
        version=contribution.version + 1,
        reason=reason,
        can_retry=can_retry,
    )


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
