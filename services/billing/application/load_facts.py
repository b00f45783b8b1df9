"""Load what a set of facts is about: contributions first, in id order, then their requests."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from services.billing.application.ports import Unit
from services.billing.domain.contribution import Contribution
from services.billing.domain.outcome import Fact
from services.billing.domain.payment_request import PaymentRequest
from shared.kernel.events import Message


@dataclass(frozen=True, slots=True)
class FactRows:
    """The locked rows; `save` writes those that changed."""

    contributions: dict[UUID, Contribution]
    requests: dict[UUID, PaymentRequest]

    def of(self, fact: Fact) -> tuple[Contribution | None, PaymentRequest | None]:
        return (
            self.contributions.get(fact.contribution_id),
            self.requests.get(fact.payment_order_id),
        )

    async def save(self, unit: Unit) -> None:
        await unit.contributions.save(self.contributions.values())
        await unit.payment_requests.save(self.requests.values())


async def load_facts(unit: Unit, messages: Sequence[Message[Fact]]) -> FactRows:
    """Everybody locks in this order, so two batches never wait for each other in a circle."""
    contributions = await unit.contributions.lock(
        message.body.contribution_id for message in messages
    )
    requests = await unit.payment_requests.lock(
        message.body.payment_order_id for message in messages
    )
    return FactRows(contributions, requests)
