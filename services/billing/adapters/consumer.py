"""Everything billing reacts to: event type → use case."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from services.billing.adapters.postgres.unit import CONSUMER, BillingUnit
from services.billing.application import ports
from services.billing.application.decide_unexpected_money import decide_unexpected_money
from services.billing.application.learn_channels import learn_channels
from services.billing.application.record_refunds import record_refunds
from services.billing.application.reopen_contributions import reopen_contributions
from services.billing.application.settle_contributions import settle_contributions
from shared.kernel.events import (
    ORDERS_TOPIC,
    ChannelsChanged,
    Event,
    Message,
    PaymentFailed,
    PaymentRefunded,
    PaymentSettled,
    UnexpectedMoneyReceived,
)
from shared.runtime.database.unit_of_work import Unit
from shared.runtime.messaging.consumer import Consumer, Reaction

UseCase = Callable[[ports.Unit, Sequence[Message[Any]]], Awaitable[None]]


def _in_billing_unit(use_case: UseCase) -> Reaction:
    async def react(unit: Unit, messages: Sequence[Message[Any]]) -> None:
        await use_case(BillingUnit(unit), messages)

    return react


REACTIONS: Mapping[type[Event], Reaction] = {
    PaymentSettled: _in_billing_unit(settle_contributions),
    PaymentFailed: _in_billing_unit(reopen_contributions),
    UnexpectedMoneyReceived: _in_billing_unit(decide_unexpected_money),
    PaymentRefunded: _in_billing_unit(record_refunds),
    ChannelsChanged: _in_billing_unit(learn_channels),
}

BILLING = Consumer(name=CONSUMER, topics=(ORDERS_TOPIC,), reactions=REACTIONS)
