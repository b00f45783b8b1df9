"""Payment orders, and the attempts that are opened with them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from services.payment.adapters.postgres.columns import (
    NEW_DIRECT_ATTEMPT,
    NEW_ORDER,
    ORDER,
    ORDER_STATE,
    attempt_row,
    order_row,
    to_order,
)
from services.payment.domain.opening import Opening
from services.payment.domain.payment_order import ORDER_TRANSITIONS, PaymentOrder
from shared.kernel.errors import Contradiction
from shared.runtime.database.set_statements import (
    GuardedUpdate,
    binds,
    insert,
    names,
    save_guarded,
    unnest,
)
from shared.runtime.database.statements import Statement, text
from shared.runtime.database.unit_of_work import StatementUnit

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
