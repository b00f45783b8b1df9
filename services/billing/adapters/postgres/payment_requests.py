"""Payment requests in PostgreSQL; locked after their contributions, in order of the order id."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from services.billing.adapters.metrics import SETTLEMENT_SECONDS
from services.billing.domain.payment_request import (
    PAYMENT_REQUEST,
    PaymentRequest,
    PaymentRequestStatus,
)
from shared.kernel.clock import Clock
from shared.kernel.events import ORDERS_TOPIC
from shared.kernel.money import Money
from shared.runtime.database.set_statements import (
    Columns,
    GuardedUpdate,
    Row,
    binds,
    insert,
    names,
    save_guarded,
)
from shared.runtime.database.statements import text
from shared.runtime.database.unit_of_work import Unit

FACTS: Columns = {
    "payment_order_id": "uuid",
    "contribution_id": "uuid",
    "insured_person_id": "uuid",
    "payer_id": "uuid",
    "channel": "text",
    "amount_fen": "bigint",
    "currency": "text",
    "scheme": "text",
    "region": "text",
    "period": "text",
    "expires_at": "timestamptz",
    "correlation_id": "uuid",
    "created_at": "timestamptz",
}
# What changes during a request's life.
STATE: Columns = {
    "status": "text",
    "version": "bigint",
    "ask_count": "integer",
    "next_ask_at": "timestamptz",
    "outcome_sequence": "bigint",
    "attempt_id": "uuid",
    "reason": "text",
}
REQUEST: Columns = {**FACTS, **STATE}


def request_row(request: PaymentRequest) -> dict[str, Any]:
    return {
        "payment_order_id": request.payment_order_id,
        "contribution_id": request.contribution_id,
        "insured_person_id": request.insured_person_id,
        "payer_id": request.payer_id,
        "channel": request.channel,
        "amount_fen": request.amount.fen,
        "currency": request.currency,
        "scheme": request.scheme,
        "region": request.region,
        "period": request.period,
        "expires_at": request.expires_at,
        "correlation_id": request.correlation_id,
        "created_at": request.created_at,
        "status": request.status.value,
        "version": request.version,
        "ask_count": request.ask_count,
        "next_ask_at": request.next_ask_at,
        "outcome_sequence": request.outcome_sequence,
        "attempt_id": request.attempt_id,
        "reason": request.reason,
    }


def to_request(row: Row) -> PaymentRequest:
    return PaymentRequest(
        payment_order_id=row["payment_order_id"],
        contribution_id=row["contribution_id"],
        insured_person_id=row["insured_person_id"],
        payer_id=row["payer_id"],
        channel=row["channel"],
        amount=Money(row["amount_fen"]),
        currency=row["currency"],
        scheme=row["scheme"],
        region=row["region"],
        period=row["period"],
        status=PaymentRequestStatus(row["status"]),
        version=row["version"],
        ask_count=row["ask_count"],
        next_ask_at=row["next_ask_at"],
        outcome_sequence=row["outcome_sequence"],
        expires_at=row["expires_at"],
        attempt_id=row["attempt_id"],
        reason=row["reason"],
        correlation_id=row["correlation_id"],
        created_at=row["created_at"],
    )


LOCK = text(
    f"""
    SELECT {names(REQUEST)} FROM payment_request
    WHERE payment_order_id = ANY(CAST(:ids AS uuid[])) ORDER BY payment_order_id FOR UPDATE
    """
)
# Only requests are locked here and nothing after them, so this never waits in a circle.
LOCK_DUE = text(
    f"""
    SELECT {names(REQUEST)} FROM payment_request
    WHERE status = 'OPEN' AND next_ask_at <= :now
    ORDER BY next_ask_at LIMIT :limit FOR UPDATE SKIP LOCKED
    """
)
INSERT = insert("payment_request", REQUEST)
# The version moves with what is told about it, the sequence with what is heard.
SAVE = GuardedUpdate(
    "payment_request",
    STATE,
    request_row,
    key="payment_order_id",
    guards={"version": "bigint", "outcome_sequence": "bigint"},
    moves=PAYMENT_REQUEST,
    also="updated_at = now()",
)
BLOCKED = text(
    """
    SELECT DISTINCT key FROM blocked_key
    WHERE consumer = :consumer AND topic = :topic AND key = ANY(CAST(:keys AS bytea[]))
    """
)


class PaymentRequestRows:
    """The payment requests of one transaction."""

    def __init__(self, unit: Unit, *, consumer: str) -> None:
        self._unit = unit
        self._connection = unit.connection
        self._consumer = consumer

    async def lock(self, order_ids: Iterable[UUID]) -> dict[UUID, PaymentRequest]:
        rows = await self._connection.execute(LOCK, {"ids": sorted(set(order_ids))})
        return {row["payment_order_id"]: to_request(row) for row in rows.mappings()}

    async def lock_due(self, now: datetime, *, limit: int) -> list[PaymentRequest]:
        rows = await self._connection.execute(LOCK_DUE, {"now": now, "limit": limit})
        return [to_request(row) for row in rows.mappings()]

    async def insert(self, requests: Sequence[PaymentRequest]) -> None:
        if requests:
            rows = [request_row(request) for request in requests]
            await self._connection.execute(INSERT, binds(REQUEST, rows))

    async def save(self, changes: Sequence[tuple[PaymentRequest, PaymentRequest]]) -> None:
        await save_guarded(self._unit, SAVE, changes)
        self._measure_settlements(changes)

    async def blocked_people(self, person_ids: Sequence[UUID]) -> set[UUID]:
        if not person_ids:
            return set()
        rows = await self._connection.execute(
            BLOCKED,
            {
                "consumer": self._consumer,
                "topic": ORDERS_TOPIC,
                "keys": [str(person_id).encode() for person_id in person_ids],
            },
        )
        return {UUID(bytes(row.key).decode()) for row in rows}

    def _measure_settlements(
        self, changes: Sequence[tuple[PaymentRequest, PaymentRequest]]
    ) -> None:
        """How long payers waited for the commit; money after a failure is another story."""
        requested_at = [
            after.created_at
            for before, after in changes
            if before.is_open and after.status is PaymentRequestStatus.SETTLED
        ]
        if requested_at:
            self._unit.when_committed(partial(_measure, requested_at, self._unit.clock))


def _measure(requested_at: Sequence[datetime], clock: Clock) -> None:
    now = clock.now()
    for begun in requested_at:
        SETTLEMENT_SECONDS.observe(max(0.0, (now - begun).total_seconds()))
