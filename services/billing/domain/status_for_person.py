"""The one status for people: words, the promised time, and what the person may do now."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.billing.domain.contribution import Contribution, ContributionStatus
from services.billing.domain.standard import Hotline
from services.billing.domain.status_text import (
    STATUS_TEXTS,
    Circumstance,
    circumstance_of,
)
from shared.kernel.wording import Language, clock_words, month_words

# After the first promise has passed, there is a new one each time this has gone by.
PROMISE_INTERVAL = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusForPerson:
    """What every surface shows; `next_update_by` is there where the person waits."""

    headline: str
    explanation: str
    next_step: str
    next_update_by: datetime | None
    can_pay: bool
    can_retry: bool
    support_name: str
    support_phone: str


def status_for_person(
    contribution: Contribution,
    *,
    expires_at: datetime | None,
    is_period_open: bool,
    support: Hotline,
    now: datetime,
    language: Language,
) -> StatusForPerson:
    """Say where a contribution is; `expires_at` is that of its open order, if there is one."""
    is_pending = contribution.status is ContributionStatus.PAYMENT_PENDING
    is_overdue = is_pending and expires_at is not None and expires_at <= now
    circumstance = circumstance_of(
        contribution, is_period_open=is_period_open, is_overdue=is_overdue
    )
    promised = promised_time(expires_at, now=now) if is_pending and expires_at else None
    fill = _filler(contribution, promised=promised, now=now, language=language)
    text = STATUS_TEXTS[contribution.status, circumstance]
    can_pay = contribution.status is ContributionStatus.ASSESSED and is_period_open
    return StatusForPerson(
        headline=text.headline.in_language(language),
        explanation=text.explanation.in_language(language).format(**fill),
        next_step=text.next_step.in_language(language).format(**fill),
        next_update_by=promised,
        can_pay=can_pay,
        can_retry=can_pay and circumstance is not Circumstance.NONE and contribution.can_retry,
        support_name=support.name.in_language(language),
        support_phone=support.phone,
    )


def promised_time(expires_at: datetime, *, now: datetime) -> datetime:
    """When the person hears at the latest; the same for every reader until it has passed."""
    if now < expires_at:
        return expires_at
    passed = (now - expires_at) // PROMISE_INTERVAL
    return expires_at + (passed + 1) * PROMISE_INTERVAL


def _filler(
    contribution: Contribution, *, promised: datetime | None, now: datetime, language: Language
) -> dict[str, str]:
    paid_at = contribution.paid_at
    return {
        "amount": contribution.amount.yuan,
        "month": month_words(contribution.period, language),
        "by": clock_words(promised, now=now, language=language) if promised else "",
        "paid": clock_words(paid_at, now=now, language=language) if paid_at else "",
    }
