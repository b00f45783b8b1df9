"""Load what a set of facts is about: contributions first, in id order, then their requests."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from services.billing.application.ports import Unit
from services.billing.domain.contribution import Contribution
from services.billing.domain.outcome import Fact
from services.billing.domain.payment_request import PaymentRequest
from shared.kernel.events import Message


@dataclass(frozen=True, slots=True)
class FactRows:
    """The locked rows as they are after the facts so far; `save` writes the steps."""

    contributions: dict[UUID, Contribution]
    requests: dict[UUID, PaymentRequest]
    _contribution_steps: list[tuple[Contribution, Contribution]] = field(default_factory=list)
    _request_steps: list[tuple[PaymentRequest, PaymentRequest]] = field(default_factory=list)

    def of(self, fact: Fact) -> tuple[Contribution | None, PaymentRequest | None]:
        return (
            self.contributions.get(fact.contribution_id),
            self.requests.get(fact.payment_order_id),
        )

    def put_contribution(self, after: Contribution) -> None:
        """One step of it, which may be none."""
        before, self.contributions[after.id] = self.contributions[after.id], after
        if after is not before:
            self._contribution_steps.append((before, after))

    def put_request(self, after: PaymentRequest) -> None:
        """One step of it, which may be none."""
        id = after.payment_order_id
        before, self.requests[id] = self.requests[id], after
        if after is not before:
            self._request_steps.append((before, after))

    async def save(self, unit: Unit) -> None:
        await unit.contributions.save(self._contribution_steps)
        await unit.payment_requests.save(self._request_steps)


async def load_facts(unit: Unit, messages: Sequence[Message[Fact]]) -> FactRows:
    """Everybody locks in this order, so two batches never wait for each other in a circle."""
    contributions = await unit.contributions.lock(
        message.body.contribution_id for message in messages
    )
    requests = await unit.payment_requests.lock(
        message.body.payment_order_id for message in messages
    )
    return FactRows(contributions, requests)
