"""The unit of work as the use cases see it: the runtime's, with billing's rows."""

from collections.abc import Sequence
from uuid import UUID

from services.billing.adapters.postgres.channels import ChannelRows
from services.billing.adapters.postgres.contributions import ContributionRows
from services.billing.adapters.postgres.money_decisions import MoneyDecisionRows, RefundRows
from services.billing.adapters.postgres.payment_requests import PaymentRequestRows
from shared.kernel.events import Event
from shared.runtime.database import unit_of_work
from shared.runtime.database.statements import text
from shared.runtime.database.unit_of_work import Item

CONSUMER = "billing"
# New payments are not promised when the broker has taken nothing for this long.
OUTBOX_AGE_MAX_SECONDS = 120
OUTBOX_IS_STUCK = text(
    """
    SELECT EXISTS (
        SELECT FROM (SELECT created_at FROM outbox_queue ORDER BY id LIMIT 1) AS oldest
        WHERE created_at < now() - make_interval(secs => :seconds)) AS stuck
    """
)


class BillingUnit:
    """One transaction of billing; everything in it commits together or not at all."""

    def __init__(self, unit: unit_of_work.Unit) -> None:
        self._unit = unit
        self.contributions = ContributionRows(unit)
        self.payment_requests = PaymentRequestRows(unit, consumer=CONSUMER)
        self.money_decisions = MoneyDecisionRows(unit)
        self.refunds = RefundRows(unit)
        self.channels = ChannelRows(unit.connection)

    def emit(
        self,
        body: Event,
        *,
        subject: UUID,
        sequence: int,
        correlation_id: UUID,
        causation_id: UUID | None = None,
    ) -> UUID:
        return self._unit.emit(
            body,
            subject=subject,
            sequence=sequence,
            correlation_id=correlation_id,
            causation_id=causation_id,
        )

    async def repeat(self, event_ids: Sequence[UUID]) -> set[UUID]:
        return await self._unit.repeat(event_ids)

    async def open_item(self, kind: str, *, reference: str, detail: str) -> None:
        await self._unit.open_items([Item(kind, reference, detail)])

    async def is_outbox_stuck(self) -> bool:
        stuck: bool = await self._unit.connection.scalar(
            OUTBOX_IS_STUCK, {"seconds": OUTBOX_AGE_MAX_SECONDS}
        )
        return stuck
