"""Back from the cashier, often in another browser and not logged in: the token is the key.

It tells state, amount and times of one order, names nobody, and concludes nothing: whatever the
payer says, the channel is asked.
"""

from datetime import timedelta
from typing import Annotated, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import BaseModel

from services.payment.adapters.http.models import OrderStatusOut, Words, status_out
from services.payment.adapters.http.parts import Here, Parts
from services.payment.adapters.metrics import RETURNS_ASKED
from services.payment.adapters.postgres.unit import PaymentUnit
from services.payment.adapters.postgres.views import OrderView, read_order
from services.payment.domain.refusal import refused
from shared.kernel.wording import Language
from shared.runtime.http.edge import OPEN_QUERY
from shared.runtime.http.languages import PreferredLanguage
from shared.runtime.http.parts import Fen, Instant, StatusOut
from shared.runtime.http.web import Strict

ReturnToken = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{22,64}$")]
# Pressing again and again does not ask the channel more often than this.
ASK_PAUSE = timedelta(seconds=3)

router = APIRouter()


class ReturnAsk(Strict):
    """What the payer says: "我已付款" or "还没付款". Both only make us ask the channel."""

    said: Literal["paid", "not_paid"]


class ReturnOut(BaseModel):
    """How one payment stands, without anybody's name."""

    status: OrderStatusOut
    status_for_person: StatusOut
    amount_fen: Fen
    currency: str
    version: int
    opened_at: Instant
    expires_at: Instant
    settled_at: Instant | None

    @classmethod
    def of(cls, view: OrderView, words: Words) -> Self:
        order = view.order
        return cls.model_validate(
            {
                "status": order.status.value.lower(),
                "status_for_person": status_out(view, words),
                "amount_fen": order.amount.fen,
                "currency": order.currency,
                "version": order.version,
                "opened_at": order.opened_at,
                "expires_at": order.expires_at,
                "settled_at": order.settlement.settled_at if order.settlement else None,
            }
        )


# Alipay appends what it signed to the way back: it proves nothing, and is not read.
@router.get("/returns/{return_token}", openapi_extra={OPEN_QUERY: True})
async def read_return(
    return_token: ReturnToken, language: PreferredLanguage, here: Here
) -> ReturnOut:
    """How the payment stands to which this token leads back."""
    order_id = await _order_of(here, return_token)
    return await _shown(here, order_id, language)


@router.post("/returns/{return_token}/asks", status_code=202)
async def ask_for_return(
    return_token: ReturnToken, body: ReturnAsk, language: PreferredLanguage, here: Here
) -> ReturnOut:
    """The payer is back and wants to know: the channel is asked at once, nothing is concluded."""
    order_id = await _order_of(here, return_token)
    async with here.database.transaction() as unit:
        payment = PaymentUnit(unit)
        await payment.orders.lock([order_id])
        await payment.cashier_attempts.ask_now(order_id, now=here.clock.now(), pause=ASK_PAUSE)
    RETURNS_ASKED.labels(body.said).inc()
    return await _shown(here, order_id, language)


async def _order_of(here: Parts, token: str) -> UUID:
    async with here.database.transaction() as unit:
        found = await PaymentUnit(unit).return_tokens.order_of(token, now=here.clock.now())
    if found is None:
        raise refused("return_not_known")
    return found


async def _shown(here: Parts, order_id: UUID, language: Language) -> ReturnOut:
    view = await read_order(here.database, order_id)
    assert view is not None, "a token refers to its order"
    return ReturnOut.of(view, here.words(language))
