"""The HTTP endpoints of billing: coverage, contributions, and the request to pay one."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Response

from services.billing.adapters.http.models import (
    ContributionOut,
    ContributionPage,
    CoverageOut,
    NewContribution,
    NewPayment,
    PaymentOut,
    Region,
    Scheme,
)
from services.billing.adapters.postgres.unit import BillingUnit
from services.billing.application.assess_contribution import (
    AssessContribution,
    assess_contribution,
)
from services.billing.application.ports import ContributionView
from services.billing.application.request_payment import RequestPayment, request_payment
from services.billing.application.view_contributions import (
    list_contributions,
    tell_status,
    view_contribution,
)
from services.billing.domain.coverage import coverage_of
from services.billing.domain.payment_request import AskingPolicy
from services.billing.domain.refusal import refused
from services.billing.domain.standard import Standards
from services.billing.domain.status_for_person import StatusForPerson
from shared.kernel.clock import Clock
from shared.kernel.money import CURRENCY, Money
from shared.kernel.wording import Language
from shared.runtime.database.database import Database
from shared.runtime.database.unit_of_work import Unit
from shared.runtime.http.idempotency import Answer, answer_once
from shared.runtime.http.languages import PreferredLanguage
from shared.runtime.http.parts import OWN_CACHE, answer_if_changed, parts_of
from shared.runtime.http.web import Correlation, IdempotencyKey, Person

COVERAGE_CACHE = "public, max-age=60"
LIMIT_MAX = 100


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the endpoints work with; `main` puts it on the application."""

    database: Database
    standards: Standards
    asking: AskingPolicy
    order_lifetime: timedelta
    clock: Clock


Here = Annotated[Parts, Depends(parts_of)]
router = APIRouter(prefix="/billing/v1")


@router.get("/coverage")
async def read_coverage(
    region: Annotated[Region, Query()],
    scheme: Annotated[Scheme, Query()],
    language: PreferredLanguage,
    response: Response,
    here: Here,
) -> CoverageOut:
    """Whether a region and scheme can be paid here; for everybody, before they start."""
    response.headers["Cache-Control"] = COVERAGE_CACHE
    response.headers["Vary"] = "Accept-Language"
    now = here.clock.now()
    coverage = coverage_of(here.standards, region=region, scheme=scheme, at=now)
    return CoverageOut.of(coverage, currency=CURRENCY, language=language)


@router.post(
    "/contributions",
    status_code=201,
    response_model=ContributionOut,
    responses={200: {"model": ContributionOut, "description": "It was there already"}},
)
async def create_contribution(
    body: NewContribution,
    key: IdempotencyKey,
    person: Person,
    correlation_id: Correlation,
    language: PreferredLanguage,
    here: Here,
) -> Response:
    """Assess what is owed; the same base again gives the same contribution."""
    wanted = AssessContribution(
        insured_person_id=person.insured_person_id,
        scheme=body.scheme,
        region=body.region,
        period=body.period,
        base=Money(body.base_fen),
        correlation_id=correlation_id,
    )

    async def use_case(unit: Unit) -> Answer:
        contribution, is_new = await assess_contribution(
            BillingUnit(unit), wanted, standards=here.standards, now=here.clock.now()
        )
        view = await view_contribution(
            BillingUnit(unit), contribution.id, person_id=person.insured_person_id
        )
        shown = ContributionOut.of(view, _status(here, view, language))
        location = f"/billing/v1/contributions/{contribution.id}"
        return Answer.of(201 if is_new else 200, shown, location=location)

    return await answer_once(
        here.database,
        subject=person.insured_person_id,
        operation="create_contribution",
        key=key,
        request=body,
        use_case=use_case,
        language=language,
    )


@router.get("/contributions")
async def list_own_contributions(
    person: Person,
    language: PreferredLanguage,
    response: Response,
    here: Here,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = 20,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
) -> ContributionPage:
    """The caller's contributions, newest first, without superseded ones."""
    response.headers["Cache-Control"] = OWN_CACHE
    response.headers["Vary"] = "Accept-Language"
    before = _read_cursor(cursor)
    async with here.database.transaction() as unit:
        page = await list_contributions(
            BillingUnit(unit), person_id=person.insured_person_id, cursor=before, limit=limit
        )
    return ContributionPage(
        items=[ContributionOut.of(view, _status(here, view, language)) for view in page.items],
        next_cursor=page.next_cursor.hex if page.next_cursor else None,
    )


@router.get(
    "/contributions/{contribution_id}",
    response_model=ContributionOut,
    responses={304: {"description": "It is as the caller knows it"}},
)
async def read_contribution(
    contribution_id: UUID,
    person: Person,
    language: PreferredLanguage,
    here: Here,
    if_none_match: Annotated[str | None, Header(max_length=1000)] = None,
) -> Response:
    """One of the caller's contributions; with `If-None-Match` only if it changed."""
    async with here.database.transaction() as unit:
        view = await view_contribution(
            BillingUnit(unit), contribution_id, person_id=person.insured_person_id
        )
    shown = ContributionOut.of(view, _status(here, view, language))
    return answer_if_changed(shown.model_dump_json().encode(), if_none_match)


@router.post("/contributions/{contribution_id}/payment", status_code=202, response_model=PaymentOut)
async def create_payment(
    contribution_id: UUID,
    key: IdempotencyKey,
    person: Person,
    correlation_id: Correlation,
    language: PreferredLanguage,
    here: Here,
    body: NewPayment | None = None,
) -> Response:
    """Ask for the payment of a contribution; while an order is open, that one is given."""
    wanted = RequestPayment(
        contribution_id=contribution_id,
        payer_id=person.insured_person_id,
        channel=body.channel if body else None,
        correlation_id=correlation_id,
    )

    async def use_case(unit: Unit) -> Answer:
        contribution, request = await request_payment(
            BillingUnit(unit),
            wanted,
            standards=here.standards,
            asking=here.asking,
            order_lifetime=here.order_lifetime,
            now=here.clock.now(),
        )
        view = ContributionView(contribution, request.expires_at)
        return Answer.of(202, PaymentOut.of(view, request, _status(here, view, language)))

    asked: dict[str, Any] = {"contribution_id": contribution_id, "channel": wanted.channel}
    return await answer_once(
        here.database,
        subject=person.insured_person_id,
        operation="create_payment",
        key=key,
        request=asked,
        use_case=use_case,
        language=language,
    )


def _status(here: Parts, view: ContributionView, language: Language) -> StatusForPerson:
    return tell_status(view, standards=here.standards, now=here.clock.now(), language=language)


def _read_cursor(cursor: str | None) -> UUID | None:
    try:
        return UUID(cursor) if cursor is not None else None
    except ValueError:
        raise refused("cursor_unknown") from None
