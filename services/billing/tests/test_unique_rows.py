"""The belt below the use cases: what the database refuses, whoever writes."""

import pytest

from services.billing.adapters.postgres.unit import BillingUnit
from services.billing.domain.contribution import Contribution, ContributionStatus
from services.billing.tests.builders import NOW, contribution
from services.billing.tests.running_billing import Billing
from shared.kernel.ids import new_id


async def insert(billing: Billing, *contributions: Contribution) -> None:
    async with billing.database.transaction() as unit:
        await BillingUnit(unit).contributions.insert(contributions)


async def test_one_contribution_is_superseded_by_one_other(billing: Billing) -> None:
    first = contribution(status=ContributionStatus.SUPERSEDED)
    await insert(billing, first, contribution(supersedes=first.id))

    with pytest.raises(Exception, match="contribution_supersedes"):
        await insert(billing, contribution(supersedes=first.id))


async def test_one_attempt_pays_one_contribution(billing: Billing) -> None:
    attempt_id, paid = new_id(), [contribution(), contribution()]
    await insert(billing, *paid)
    pay = (
        "UPDATE contribution SET status = 'PAID', paid_by_attempt_id = :attempt_id, paid_at = :now"
        " WHERE id = :id"
    )
    await billing.execute(pay, attempt_id=attempt_id, now=NOW, id=paid[0].id)

    with pytest.raises(Exception, match="contribution_paid_by"):
        await billing.execute(pay, attempt_id=attempt_id, now=NOW, id=paid[1].id)


async def test_a_month_has_one_contribution_that_counts(billing: Billing) -> None:
    one = contribution()
    await insert(billing, one)

    with pytest.raises(Exception, match="contribution_current"):
        await insert(billing, contribution(insured_person_id=one.insured_person_id))
