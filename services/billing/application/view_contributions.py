"""View contributions: only one's own, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.billing.application.ports import ContributionView, Unit
from services.billing.domain.period import allowed_periods
from services.billing.domain.refusal import refused
from services.billing.domain.standard import Standards
from services.billing.domain.status_for_person import StatusForPerson, status_for_person
from shared.kernel.clock import shanghai_month
from shared.kernel.wording import Language


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list; `next_cursor` asks for the part after it."""

    items: Sequence[ContributionView]
    next_cursor: UUID | None


async def view_contribution(
    unit: Unit, contribution_id: UUID, *, person_id: UUID
) -> ContributionView:
    """Raises Refused `contribution_not_found`, also for what is somebody else's."""
    view = await unit.contributions.view_own(contribution_id, person_id)
    if view is None:
        raise refused("contribution_not_found")
    return view


async def list_contributions(
    unit: Unit, *, person_id: UUID, cursor: UUID | None, limit: int
) -> Page:
    """One page of what a person has; superseded ones are left out."""
    views = await unit.contributions.list_own(person_id, before=cursor, limit=limit + 1)
    items = views[:limit]
    has_more = len(views) > limit
    return Page(items, items[-1].contribution.id if has_more else None)


def tell_status(
    view: ContributionView, *, standards: Standards, now: datetime, language: Language
) -> StatusForPerson:
    """The status for people, with the hotline of the region."""
    contribution = view.contribution
    policy = standards.policy(contribution.region, contribution.scheme)
    open_periods = allowed_periods(policy, shanghai_month(now)) if policy else []
    return status_for_person(
        contribution,
        expires_at=view.expires_at,
        is_period_open=contribution.period in open_periods,
        support=standards.regions.hotlines[0],
        now=now,
        language=language,
    )
