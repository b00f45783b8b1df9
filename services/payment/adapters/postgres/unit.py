"""The unit of work as the use cases see it: the runtime's, with payment's rows."""

from collections.abc import Callable, Sequence
from uuid import UUID

from services.payment.adapters.postgres.attempts import PostgresAttempts
from services.payment.adapters.postgres.cashier_attempts import PostgresCashierAttempts
from services.payment.adapters.postgres.channel_lists import PostgresChannelLists
from services.payment.adapters.postgres.notifications import PostgresNotifications
from services.payment.adapters.postgres.orders import PostgresOrders
from services.payment.adapters.postgres.refunds import PostgresRefunds
from services.payment.adapters.postgres.return_tokens import PostgresReturnTokens
from services.payment.adapters.postgres.switches import PostgresSwitches
from services.payment.application.ports import Statements, Transactions
from services.payment.domain.operator_item import OperatorItem
from shared.kernel.events import Event, PersonEvent
from shared.runtime.database.database import Database, units_of
from shared.runtime.database.unit_of_work import Item, StatementUnit, Unit
from shared.runtime.ground import crash_points


class PaymentStatement:
    """The runtime's unit for one statement, with what payment writes so."""

    def __init__(self, unit: StatementUnit) -> None:
        self.attempts = PostgresAttempts(unit)


class PaymentUnit:
    """The runtime's unit of work with payment's repositories."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self.orders = PostgresOrders(unit)
        self.attempts = PostgresAttempts(unit)
        self.refunds = PostgresRefunds(unit.connection)
        self.cashier_attempts = PostgresCashierAttempts(unit.connection)
        self.notifications = PostgresNotifications(unit.connection)
        self.return_tokens = PostgresReturnTokens(unit.connection)
        self.switches = PostgresSwitches(unit.connection)
        self.channel_lists = PostgresChannelLists(unit.connection)

    def emit(
        self,
        body: Event,
        *,
        subject: UUID,
        sequence: int,
        correlation_id: UUID,
        causation_id: UUID | None = None,
    ) -> UUID:
        if isinstance(body, PersonEvent):
            # Not for the list of channels, which records no outcome.
            crash_points.reach("outcome.after_recording_before_emitting")
        return self._unit.emit(
            body,
            subject=subject,
            sequence=sequence,
            correlation_id=correlation_id,
            causation_id=causation_id,
        )

    async def repeat(self, event_ids: Sequence[UUID]) -> set[UUID]:
        return await self._unit.repeat(event_ids)

    def at_end(self, call: Callable[[bool], None]) -> None:
        self._unit.at_end(call)

    async def open_items(self, items: Sequence[OperatorItem]) -> None:
        await self._unit.open_items(
            [Item(item.kind.value, item.reference, item.detail) for item in items]
        )


def transactions_of(database: Database) -> Transactions:
    """Units of payment on this database."""
    return units_of(database.transaction, PaymentUnit)


def statements_of(database: Database) -> Statements:
    """Units for one statement each: one trip to the database instead of three."""
    return units_of(database.one_statement, PaymentStatement)
