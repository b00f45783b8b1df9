"""What billing's endpoints take and give."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field

from services.billing.application.ports import ContributionView
from services.billing.domain.coverage import Coverage, hotlines_for_people
from services.billing.domain.payment_request import PaymentRequest
from services.billing.domain.standard import BaseStandard
from services.billing.domain.status_for_person import StatusForPerson
from shared.kernel.wording import Language
from shared.runtime.http.parts import Fen, Instant, StatusOut, Support
from shared.runtime.http.web import Strict

# A base is below this in every published standard; events hold amounts up to it.
FEN_MAX = 10_000_000_000

BaseFen = Annotated[int, Field(strict=True, gt=0, le=FEN_MAX, description="1/100 yuan")]
Region = Annotated[str, Field(pattern=r"^[0-9]{6}$", description="administrative division code")]
Period = Annotated[str, Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$", description="YYYY-MM")]
Scheme = Literal["flexible", "employee", "resident"]
Channel = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]


class NewContribution(Strict):
    """What a person wants to pay for."""

    scheme: Scheme
    region: Region
    period: Period
    base_fen: BaseFen


class NewPayment(Strict):
    """How a person wants to pay; without a channel the payment service chooses."""

    channel: Channel | None = None


def status_out(status: StatusForPerson) -> StatusOut:
    """The status of a contribution as it is sent."""
    return StatusOut(
        headline=status.headline,
        explanation=status.explanation,
        next_step=status.next_step,
        next_update_by=status.next_update_by,
        can_pay=status.can_pay,
        can_retry=status.can_retry,
        support=Support(name=status.support_name, phone=status.support_phone),
    )


class ShareOut(BaseModel):
    """The part that goes to one account."""

    account: str
    amount_fen: Fen


class ContributionOut(BaseModel):
    """A contribution; `payment_order_id` is its latest order."""

    id: UUID
    scheme: Scheme
    region: str
    period: str
    base_fen: Fen
    amount_fen: Fen
    currency: str
    shares: list[ShareOut]
    rule_id: str
    provisional: bool
    supersedes: UUID | None
    status: str
    status_for_person: StatusOut
    payment_order_id: UUID | None
    paid_at: Instant | None
    created_at: Instant

    @classmethod
    def of(cls, view: ContributionView, status: StatusForPerson) -> Self:
        contribution = view.contribution
        return cls.model_validate(
            {
                "id": contribution.id,
                "scheme": contribution.scheme,
                "region": contribution.region,
                "period": contribution.period,
                "base_fen": contribution.base.fen,
                "amount_fen": contribution.amount.fen,
                "currency": contribution.currency,
                "shares": [
                    {"account": share.account, "amount_fen": share.amount_fen}
                    for share in contribution.shares
                ],
                "rule_id": contribution.rule_id,
                "provisional": contribution.provisional,
                "supersedes": contribution.supersedes,
                "status": contribution.status.lower(),
                "status_for_person": status_out(status),
                "payment_order_id": contribution.payment_order_id,
                "paid_at": contribution.paid_at,
                "created_at": contribution.created_at,
            }
        )


class ContributionPage(BaseModel):
    """Newest first, without superseded ones."""

    items: list[ContributionOut]
    next_cursor: str | None


class PaymentOut(BaseModel):
    """The open order; its progress is told by the payment service at `link`."""

    payment_order_id: UUID
    contribution_id: UUID
    status: str
    status_for_person: StatusOut
    channel: str | None
    amount_fen: Fen
    currency: str
    expires_at: Instant
    link: str

    @classmethod
    def of(cls, view: ContributionView, request: PaymentRequest, status: StatusForPerson) -> Self:
        return cls(
            payment_order_id=request.payment_order_id,
            contribution_id=request.contribution_id,
            status=view.contribution.status.lower(),
            status_for_person=status_out(status),
            channel=request.channel,
            amount_fen=request.amount.fen,
            currency=request.currency,
            expires_at=request.expires_at,
            link=f"/payment/v1/orders/{request.payment_order_id}",
        )


class ContinuousBase(BaseModel):
    """Any base between the published limits."""

    kind: Literal["continuous"] = "continuous"
    floor_fen: Fen
    ceiling_fen: Fen


class TieredBase(BaseModel):
    """One of the published bases."""

    kind: Literal["tiers"] = "tiers"
    tiers_fen: list[Fen]


class CoverageOut(BaseModel):
    """What can be paid, or whom to turn to; known before anybody starts."""

    region: str
    region_name: str | None
    scheme: Scheme
    covered: bool
    allowed_periods: list[str]
    base: Annotated[ContinuousBase | TieredBase, Field(discriminator="kind")] | None
    provisional: bool
    currency: str
    office: str
    hotline: str
    hotlines: list[Support]
    message: str

    @classmethod
    def of(cls, coverage: Coverage, *, currency: str, language: Language) -> Self:
        return cls.model_validate(
            {
                "region": coverage.region,
                "region_name": coverage.name.in_language(language) if coverage.name else None,
                "scheme": coverage.scheme,
                "covered": coverage.covered,
                "allowed_periods": coverage.allowed_periods,
                "base": _base(coverage.standard) if coverage.standard else None,
                "provisional": coverage.provisional,
                "currency": currency,
                "office": coverage.office.in_language(language),
                "hotline": coverage.hotlines[0].phone,
                "hotlines": hotlines_for_people(coverage.hotlines, language),
                "message": coverage.message.in_language(language),
            }
        )


def _base(standard: BaseStandard) -> ContinuousBase | TieredBase:
    if standard.tiers_fen is not None:
        return TieredBase(tiers_fen=list(standard.tiers_fen))
    return ContinuousBase(floor_fen=standard.floor_fen, ceiling_fen=standard.ceiling_fen)
