"""Assess what is owed for a month; another base supersedes while nothing was paid."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.billing.application.ports import Unit
from services.billing.domain.assessment import Assessment, assess
from services.billing.domain.contribution import (
    Contribution,
    ContributionStatus,
    new_contribution,
    supersede,
)
from services.billing.domain.refusal import refused
from services.billing.domain.standard import Standards
from shared.kernel.events import ContributionAssessed
from shared.kernel.ids import new_id
from shared.kernel.money import CURRENCY, Money


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessContribution:
    """What a person wants to pay for."""

    insured_person_id: UUID
    scheme: str
    region: str
    period: str
    base: Money
    correlation_id: UUID


async def assess_contribution(
    unit: Unit, wanted: AssessContribution, *, standards: Standards, now: datetime
) -> tuple[Contribution, bool]:
    """Return the contribution and whether it is new; the same base again changes nothing.

    Raises Refused: what `assess` refuses, and `contribution_locked` once a payment is under
    way or made.
    """
    assessment = assess(
        standards,
        scheme=wanted.scheme,
        region=wanted.region,
        period=wanted.period,
        base=wanted.base,
        at=now,
    )
    current = await unit.contributions.lock_current(
        wanted.insured_person_id, scheme=wanted.scheme, period=wanted.period
    )
    if current is not None and current.is_assessed_as(assessment):
        return current, False
    if current is not None:
        await _supersede(unit, current)
    contribution = _contribution(wanted, assessment, current, now)
    await unit.contributions.insert([contribution])
    tell_assessed(unit, contribution)
    return contribution, True


async def _supersede(unit: Unit, current: Contribution) -> None:
    if current.status is not ContributionStatus.ASSESSED:
        raise refused(
            "contribution_locked",
            contribution_id=str(current.id),
            link=f"/billing/v1/contributions/{current.id}",
        )
    await unit.contributions.save([(current, supersede(current))])


def _contribution(
    wanted: AssessContribution,
    assessment: Assessment,
    current: Contribution | None,
    now: datetime,
) -> Contribution:
    return new_contribution(
        assessment,
        contribution_id=new_id(),
        insured_person_id=wanted.insured_person_id,
        supersedes=current.id if current else None,
        correlation_id=wanted.correlation_id,
        created_at=now,
        currency=CURRENCY,
    )


def tell_assessed(unit: Unit, contribution: Contribution) -> None:
    """Emit ContributionAssessed for a contribution at version 1."""
    unit.emit(
        ContributionAssessed(
            contribution_id=contribution.id,
            insured_person_id=contribution.insured_person_id,
            scheme=contribution.scheme,
            region=contribution.region,
            period=contribution.period,
            base_fen=contribution.base.fen,
            amount_fen=contribution.amount.fen,
            currency=contribution.currency,
            shares=contribution.shares,
            rule_id=contribution.rule_id,
            provisional=contribution.provisional,
            supersedes=contribution.supersedes,
        ),
        subject=contribution.id,
        sequence=contribution.version,
        correlation_id=contribution.correlation_id,
    )
