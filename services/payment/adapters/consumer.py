"""Everything payment reacts to."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from services.payment.adapters.postgres.unit import PaymentUnit
from services.payment.application import apply_money_decisions
from services.payment.application.open_orders import OrderOpener
from shared.kernel.clock import Clock
from shared.kernel.events import (
    CONTRIBUTIONS_TOPIC,
    Message,
    MoneyAccepted,
    MoneyRejected,
    PaymentOutcomeAsked,
    PaymentRequested,
)
from shared.runtime.database.unit_of_work import Unit
from shared.runtime.messaging.consumer import Consumer, Reaction

CONSUMER = "payment"


def build_consumer(*, opener: OrderOpener, clock: Clock) -> Consumer:
    """The reaction table."""
    reject = partial(apply_money_decisions.reject, clock=clock)
    return Consumer(
        name=CONSUMER,
        topics=(CONTRIBUTIONS_TOPIC,),
        reactions={
            PaymentRequested: _in_unit(opener.open_orders),
            PaymentOutcomeAsked: _in_unit(opener.answer_asks),
            MoneyAccepted: _in_unit(apply_money_decisions.accept),
            MoneyRejected: _in_unit(reject),
        },
    )


def _in_unit(use_case: Any) -> Reaction:
    async def react(unit: Unit, messages: Sequence[Message[Any]]) -> None:
        await use_case(PaymentUnit(unit), messages)

    return react
