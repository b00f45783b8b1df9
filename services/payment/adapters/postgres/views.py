"""Orders as they are read: each with all its attempts, from one statement, so that they agree."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from services.payment.adapters.postgres.columns import ATTEMPT, ORDER, to_attempt, to_order
from services.payment.domain.payment_attempt import PaymentAttempt
from services.payment.domain.payment_order import PaymentOrder
from shared.runtime.database.database import Database
from shared.runtime.database.set_statements import Columns
from shared.runtime.database.statements import RowMapping, text


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order and its attempts, oldest first."""

    order: PaymentOrder
    attempts: list[PaymentAttempt] = field(default_factory=list)


def _prefixed(columns: Columns, table: str) -> str:
    return ", ".join(f"{table}.{name} AS {table}_{name}" for name in columns)


ATTEMPT_READ = {**ATTEMPT, "lease_owner": "uuid"}
SELECT = f"""
    SELECT {_prefixed(ORDER, "payment_order")}, {_prefixed(ATTEMPT_READ, "payment_attempt")}
    FROM payment_order LEFT JOIN payment_attempt ON payment_attempt.order_id = payment_order.id
"""
BY_TIME = " ORDER BY payment_attempt.created_at, payment_attempt.id"
FIND = text(
    SELECT
    + " WHERE payment_order.id = :order_id"
    + "   AND :person_id IN (payment_order.payer_id, payment_order.insured_person_id)"
    + BY_TIME
)
READ = text(SELECT + " WHERE payment_order.id = :order_id" + BY_TIME)
# What somebody watches and has not seen yet; finished orders always, so that streams end.
CHANGED = text(
    SELECT
    + """
    JOIN unnest(CAST(:order_ids AS uuid[]), CAST(:seen AS integer[])) AS watched (id, seen)
      ON watched.id = payment_order.id
    WHERE payment_order.version > watched.seen OR payment_order.status <> 'REQUESTED'
    """
    + BY_TIME
)


async def find_order(database: Database, order_id: UUID, *, person_id: UUID) -> OrderView | None:
    """The order, where the person pays it or is insured by it."""
    async with database.transaction() as unit:
        rows = await unit.connection.execute(FIND, {"order_id": order_id, "person_id": person_id})
        return next(iter(_views(rows.mappings())), None)


async def read_order(database: Database, order_id: UUID) -> OrderView | None:
    """The order, for whoever holds its return token."""
    async with database.transaction() as unit:
        rows = await unit.connection.execute(READ, {"order_id": order_id})
        return next(iter(_views(rows.mappings())), None)


async def read_changed(database: Database, seen: Mapping[UUID, int]) -> list[OrderView]:
    """Of the watched orders those beyond the version that was seen, and all finished ones."""
    binds = {"order_ids": list(seen), "seen": list(seen.values())}
    async with database.transaction() as unit:
        rows = await unit.connection.execute(CHANGED, binds)
        return _views(rows.mappings())


def _views(rows: Iterable[RowMapping]) -> list[OrderView]:
    views: dict[UUID, OrderView] = {}
    for row in rows:
        order_id = row["payment_order_id"]
        if order_id not in views:
            views[order_id] = OrderView(to_order(_part(row, "payment_order", ORDER)))
        if row["payment_attempt_id"] is not None:
            attempt = to_attempt(_part(row, "payment_attempt", ATTEMPT_READ))
            views[order_id].attempts.append(attempt)
    return list(views.values())


def _part(row: RowMapping, table: str, columns: Columns) -> dict[str, Any]:
    return {name: row[f"{table}_{name}"] for name in columns}
