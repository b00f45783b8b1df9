"""The use cases' repositories on PostgreSQL: set statements, guarded by versions."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from services.payment.adapters.postgres.cashier_rows import (
    PostgresCashierAttempts,
    PostgresNotifications,
    PostgresReturnTokens,
    PostgresSwitches,
)
from services.payment.adapters.postgres.channel_lists import PostgresChannelLists
from services.payment.adapters.postgres.columns import (
    ATTEMPT,
    ATTEMPT_STATE,
    NEW_DIRECT_ATTEMPT,
    NEW_ORDER,
    ORDER,
    ORDER_STATE,
    REFUND,
    attempt_row,
    order_row,
    refund_row,
    to_attempt,
    to_order,
)
from services.payment.application.ports import DueAttempt, Statements, Transactions
from services.payment.domain.opening import Opening
from services.payment.domain.operator_item import OperatorItem
from services.payment.domain.payment_attempt import ATTEMPT_TRANSITIONS, Call, PaymentAttempt
from services.payment.domain.payment_order import ORDER_TRANSITIONS, PaymentOrder
from services.payment.domain.refund import Refund
from shared.kernel.errors import Contradiction
from shared.kernel.events import Event, PersonEvent
from shared.runtime.database.database import Database, units_of
from shared.runtime.database.set_statements import (
    GuardedUpdate,
    binds,
    insert,
    names,
    save_guarded,
    unnest,
)
from shared.runtime.database.statements import Connection, Statement, text
from shared.runtime.database.unit_of_work import Item, StatementUnit, Unit
from shared.runtime.ground import crash_points

# Without a conflict target: the same order again, or the tripwire on its contribution.
INSERT_ORDERS = insert("payment_order", NEW_ORDER, "ON CONFLICT DO NOTHING RETURNING id")
KNOWN_ORDERS = text("SELECT id FROM payment_order WHERE id = ANY(CAST(:ids AS uuid[]))")
READ_ORDERS = text(f"SELECT {names(ORDER)} FROM payment_order WHERE id = ANY(CAST(:ids AS uuid[]))")
LOCK_ORDERS = text(
    f"SELECT {names(ORDER)} FROM payment_order WHERE id = ANY(CAST(:ids AS uuid[]))"
    " ORDER BY id FOR UPDATE"
)
LOCK_EXPIRED = text(
    f"""
    SELECT {names(ORDER)} FROM payment_order
    WHERE status = 'REQUESTED' AND expires_at <= :now
      AND NOT EXISTS (
        SELECT FROM payment_attempt WHERE order_id = payment_order.id AND status IN
            ('STARTED', 'AWAITING_PAYER', 'UNKNOWN'))
    ORDER BY expires_at LIMIT :row_limit FOR UPDATE SKIP LOCKED
    """
)
WITH_OPEN_ATTEMPTS = text(
    "SELECT DISTINCT order_id FROM payment_attempt WHERE order_id = ANY(CAST(:ids AS uuid[]))"
    " AND status IN ('STARTED', 'AWAITING_PAYER', 'UNKNOWN')"
)
SAVE_ORDERS = GuardedUpdate("payment_order", ORDER_STATE, order_row, moves=ORDER_TRANSITIONS)

INSERT_ATTEMPTS = text(
    f"INSERT INTO payment_attempt ({names(NEW_DIRECT_ATTEMPT)}, lease_until)"
    f" SELECT {names(NEW_DIRECT_ATTEMPT)}, CASE WHEN lease_owner IS NOT NULL"
    " THEN clock_timestamp() + CAST(:lease_time AS interval) END"
    f" FROM {unnest(NEW_DIRECT_ATTEMPT)}"
)
LOCK_ATTEMPTS = text(
    f"SELECT {names(ATTEMPT)}, lease_owner FROM payment_attempt"
    " WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE"
)
LOCK_UNDECIDED = text(
    f"""
    SELECT {names(ATTEMPT)}, lease_owner FROM payment_attempt
    WHERE unexpected_sequence > 0 AND decision IS NULL AND due_at <= :now
    ORDER BY due_at LIMIT :row_limit FOR UPDATE SKIP LOCKED
    """
)
# A send is counted, and the next call made a query, before the send happens: whoever finds
# the row after a crash asks first. Past its expiry a row is never sent.
CLAIM_ATTEMPTS = text(
    f"""
    WITH due AS (
        SELECT id, order_id, next_call,
               next_call = 'start' AND expires_at > :now AS sends,
               next_call = 'start' AND expires_at <= :now AND send_count = 0 AS never_sent
        FROM payment_attempt
        WHERE status IN ('STARTED', 'AWAITING_PAYER', 'UNKNOWN') AND due_at <= :now
          AND (lease_until IS NULL OR lease_until < clock_timestamp())
        ORDER BY due_at LIMIT :row_limit FOR UPDATE SKIP LOCKED
    )
    UPDATE payment_attempt AS attempt SET
        lease_owner = :lease,
        lease_until = clock_timestamp() + CAST(:lease_time AS interval),
        next_call = CASE WHEN never_sent THEN attempt.next_call ELSE 'query' END,
        send_count = send_count + CAST(sends AS integer),
        first_sent_at = CASE WHEN sends THEN coalesce(first_sent_at, :now) ELSE first_sent_at END,
        query_count = CASE WHEN sends THEN 0 WHEN never_sent THEN query_count
                           ELSE query_count + 1 END
    FROM due JOIN payment_order ON payment_order.id = due.order_id
    WHERE attempt.id = due.id
    RETURNING {names(ATTEMPT, "attempt.")}, attempt.lease_owner, sends, never_sent,
              payment_order.payer_id, payment_order.period
    """
)
# What ended without money, and may have been paid since. Its index holds nothing else, so the
# many that settle pay nothing for this.
CLAIM_ENDED = text(
    f"""
    WITH due AS (
        SELECT id, order_id FROM payment_attempt
        WHERE status IN ('DECLINED', 'CLOSED') AND due_at <= :now
          AND (lease_until IS NULL OR lease_until < clock_timestamp())
        ORDER BY due_at LIMIT :row_limit FOR UPDATE SKIP LOCKED
    )
    UPDATE payment_attempt AS attempt SET
        lease_owner = :lease,
        lease_until = clock_timestamp() + CAST(:lease_time AS interval),
        query_count = query_count + 1
    FROM due JOIN payment_order ON payment_order.id = due.order_id
    WHERE attempt.id = due.id
    RETURNING {names(ATTEMPT, "attempt.")}, attempt.lease_owner, false AS sends,
              false AS never_sent, payment_order.payer_id, payment_order.period
    """
)
SAVE_ATTEMPTS = GuardedUpdate(
    "payment_attempt",
    ATTEMPT_STATE,
    attempt_row,
    moves=ATTEMPT_TRANSITIONS,
    also="lease_owner = NULL, lease_until = NULL",
)

INSERT_REFUNDS = insert("refund", REFUND, "ON CONFLICT (id) DO NOTHING")


class PostgresOrders:
    def __init__(self, unit: StatementUnit) -> None:
        self._unit = unit
        self._connection = unit.connection

    async def open(
        self, openings: Sequence[Opening], *, lease_time: timedelta = timedelta(0)
    ) -> set[UUID]:
        rows = [order_row(opening.order) for opening in openings]
        inserted = await self._connection.execute(INSERT_ORDERS, binds(NEW_ORDER, rows))
        opened = {row.id for row in inserted}
        await self._refuse_second_open(openings, opened)
        begun = [opening.order for opening in openings if opening.order.id in opened]
        born = ORDER_TRANSITIONS.initial
        self._unit.count_moves(ORDER_TRANSITIONS, [(born, order.status) for order in begun])
        attempts = [
            attempt_row(opening.attempt)
            for opening in openings
            if opening.attempt is not None and opening.order.id in opened
        ]
        if attempts:
            values = binds(NEW_DIRECT_ATTEMPT, attempts)
            await self._connection.execute(INSERT_ATTEMPTS, {**values, "lease_time": lease_time})
        return opened

    async def _refuse_second_open(self, openings: Sequence[Opening], opened: set[UUID]) -> None:
        others = {opening.order.id for opening in openings} - opened
        if not others:
            return
        found = await self._connection.execute(KNOWN_ORDERS, {"ids": list(others)})
        unknown = others - {row.id for row in found}
        if unknown:
            orders = ", ".join(sorted(str(order_id) for order_id in unknown))
            raise Contradiction(f"another order is open for the contribution of {orders}")

    async def lock(self, ids: Sequence[UUID]) -> dict[UUID, PaymentOrder]:
        return await self._orders(LOCK_ORDERS, ids)

    async def read(self, ids: Sequence[UUID]) -> dict[UUID, PaymentOrder]:
        return await self._orders(READ_ORDERS, ids)

    async def lock_expired(self, *, now: datetime, limit: int) -> list[PaymentOrder]:
        found = await self._connection.execute(LOCK_EXPIRED, {"now": now, "row_limit": limit})
        orders = [to_order(row) for row in found.mappings()]
        # Attempts begin under the order's lock: what the first look missed, this one sees.
        ids = [order.id for order in orders]
        begun = await self._connection.execute(WITH_OPEN_ATTEMPTS, {"ids": ids})
        open_still = {row.order_id for row in begun}
        return [order for order in orders if order.id not in open_still]

    async def save(self, changes: Sequence[tuple[PaymentOrder, PaymentOrder]]) -> None:
        await save_guarded(self._unit, SAVE_ORDERS, changes)

    async def _orders(self, statement: Statement, ids: Sequence[UUID]) -> dict[UUID, PaymentOrder]:
        if not ids:
            return {}
        found = await self._connection.execute(statement, {"ids": sorted(set(ids))})
        return {row["id"]: to_order(row) for row in found.mappings()}


class PostgresAttempts:
    def __init__(self, unit: StatementUnit) -> None:
        self._unit = unit
        self._connection = unit.connection

    async def claim(
        self, *, now: datetime, limit: int, lease: UUID, lease_time: timedelta
    ) -> list[DueAttempt]:
        return await self._claimed(CLAIM_ATTEMPTS, now, limit, lease, lease_time)

    async def claim_ended(
        self, *, now: datetime, limit: int, lease: UUID, lease_time: timedelta
    ) -> list[DueAttempt]:
        return await self._claimed(CLAIM_ENDED, now, limit, lease, lease_time)

    async def _claimed(
        self,
        statement: Statement,
        now: datetime,
        limit: int,
        lease: UUID,
        lease_time: timedelta,
    ) -> list[DueAttempt]:
        claimed = await self._connection.execute(
            statement,
            {"now": now, "row_limit": limit, "lease": lease, "lease_time": lease_time},
        )
        return [
            DueAttempt(
                attempt=to_attempt(row),
                call=_call(sends=row["sends"], never_sent=row["never_sent"]),
                lease=lease,
                payer_id=row["payer_id"],
                period=row["period"],
            )
            for row in claimed.mappings()
        ]

    async def lock(self, ids: Sequence[UUID]) -> dict[UUID, PaymentAttempt]:
        if not ids:
            return {}
        found = await self._connection.execute(LOCK_ATTEMPTS, {"ids": sorted(set(ids))})
        return {row["id"]: to_attempt(row) for row in found.mappings()}

    async def lock_undecided(self, *, now: datetime, limit: int) -> list[PaymentAttempt]:
        found = await self._connection.execute(LOCK_UNDECIDED, {"now": now, "row_limit": limit})
        return [to_attempt(row) for row in found.mappings()]

    async def save(self, changes: Sequence[tuple[PaymentAttempt, PaymentAttempt]]) -> None:
        await save_guarded(self._unit, SAVE_ATTEMPTS, changes)


class PostgresRefunds:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def request(self, refunds: Sequence[Refund]) -> None:
        if refunds:
            rows = [refund_row(refund) for refund in refunds]
            await self._connection.execute(INSERT_REFUNDS, binds(REFUND, rows))


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


def _call(*, sends: bool, never_sent: bool) -> Call | None:
    if never_sent:
        return None
    return Call.START if sends else Call.QUERY
