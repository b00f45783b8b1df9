"""Request a payment: at most one open order per contribution, whoever asks how often."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.billing.application.ports import Unit
from services.billing.application.tell_payment import tell_requested
from services.billing.domain.assessment import check_period
from services.billing.domain.channel_choice import Collection, check_channel, check_known
from services.billing.domain.contribution import (
    HAS_MONEY,
    Contribution,
    ContributionStatus,
    await_payment,
)
from services.billing.domain.coverage import covered_policy
from services.billing.domain.payment_request import (
    PAYMENT_REQUEST,
    AskingPolicy,
    PaymentRequest,
)
from services.billing.domain.period import allowed_periods
from services.billing.domain.refusal import BUSY, refused
from services.billing.domain.standard import Standards
from shared.kernel.clock import shanghai_month, to_rfc3339
from shared.kernel.errors import Contradiction, WordedOutage
from shared.kernel.ids import new_id

BUSY_RETRY_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPayment:
    """A person confirmed; without a channel the payment service chooses."""

    contribution_id: UUID
    payer_id: UUID
    channel: str | None
    correlation_id: UUID


async def request_payment(
    unit: Unit,
    wanted: RequestPayment,
    *,
    standards: Standards,
    asking: AskingPolicy,
    order_lifetime: timedelta,
    now: datetime,
) -> tuple[Contribution, PaymentRequest]:
    """Return the contribution and its open order, new or already there.

    Raises Refused: `contribution_not_found`, `already_paid`, `contribution_superseded`,
    `order_open` (by another channel, with a link to it), `period_not_allowed`, and what
    `check_channel` raises where the channel surely could not collect it; Unavailable `busy` while
    events wait too long to be sent, since the order would not reach payment.
    """
    announced = await unit.channels.known()
    known = announced if announced is not None and announced.is_believed(now) else None
    check_known(wanted.channel, known)
    contribution = await unit.contributions.lock_own(wanted.contribution_id, wanted.payer_id)
    if contribution is None:
        raise refused("contribution_not_found")
    if contribution.status is ContributionStatus.PAYMENT_PENDING:
        return contribution, await _open_request(unit, contribution, wanted.channel)
    await _check_payable(unit, contribution, standards, now)
    expires_at = now + order_lifetime
    if known is not None:
        check_channel(wanted.channel, known, _collection(contribution, expires_at))
    if await unit.is_outbox_stuck():
        raise WordedOutage("busy", BUSY, retry_after_seconds=BUSY_RETRY_SECONDS)
    request = new_request(
        contribution, wanted, now=now, asking=asking, order_lifetime=order_lifetime
    )
    waiting = await_payment(contribution, request.payment_order_id)
    await unit.contributions.save([(contribution, waiting)])
    await unit.payment_requests.insert([request])
    tell_requested(unit, request)
    return waiting, request


def _collection(contribution: Contribution, expires_at: datetime) -> Collection:
    return Collection(
        amount=contribution.amount,
        region=contribution.region,
        # No agreement can be signed yet, so nobody has one.
        has_mandate=False,
        expires_at=expires_at,
    )


async def _open_request(
    unit: Unit, contribution: Contribution, channel: str | None
) -> PaymentRequest:
    """The open order, unless the person now wants another channel."""
    order_id = contribution.payment_order_id
    request = (await unit.payment_requests.lock([order_id] if order_id else [])).get(
        order_id or contribution.id
    )
    if request is None:
        raise Contradiction(f"contribution {contribution.id} waits for an order it does not have")
    if channel not in (None, request.channel):
        raise refused(
            "order_open",
            payment_order_id=str(request.payment_order_id),
            link=f"/payment/v1/orders/{request.payment_order_id}",
            channel=request.channel,
            expires_at=to_rfc3339(request.expires_at),
        )
    return request


async def _check_payable(
    unit: Unit, contribution: Contribution, standards: Standards, now: datetime
) -> None:
    if contribution.status in HAS_MONEY and contribution.paid_at is not None:
        raise refused(
            "already_paid",
            payment_order_id=str(contribution.payment_order_id),
            paid_at=to_rfc3339(contribution.paid_at),
        )
    if contribution.status is ContributionStatus.SUPERSEDED:
        newer = await unit.contributions.replacement_of(contribution.id)
        raise refused("contribution_superseded", link=f"/billing/v1/contributions/{newer}")
    policy = covered_policy(standards, contribution.region, contribution.scheme)
    check_period(allowed_periods(policy, shanghai_month(now)), contribution.period)


def new_request(
    contribution: Contribution,
    wanted: RequestPayment,
    *,
    now: datetime,
    asking: AskingPolicy,
    order_lifetime: timedelta,
) -> PaymentRequest:
    """An open request for the whole amount of a contribution, at version 1."""
    return PaymentRequest(
        payment_order_id=new_id(),
        contribution_id=contribution.id,
        insured_person_id=contribution.insured_person_id,
        payer_id=wanted.payer_id,
        channel=wanted.channel,
        amount=contribution.amount,
        currency=contribution.currency,
        scheme=contribution.scheme,
        region=contribution.region,
        period=contribution.period,
        status=PAYMENT_REQUEST.initial,
        version=1,
        ask_count=0,
        next_ask_at=now + asking.delay(0),
        outcome_sequence=0,
        expires_at=now + order_lifetime,
        attempt_id=None,
        reason=None,
        correlation_id=wanted.correlation_id,
        created_at=now,
    )
