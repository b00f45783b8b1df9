"""Payment attempts as their payers move them, at a cashier."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from services.payment.adapters.postgres.columns import (
    ATTEMPT,
    attempt_row,
    to_attempt,
)
from services.payment.application.ports import DueAttempt
from services.payment.domain.payment_attempt import Call, PaymentAttempt
from shared.runtime.database.set_statements import binds, insert, names
from shared.runtime.database.statements import Connection, text

OPEN = "status IN ('STARTED', 'AWAITING_PAYER', 'UNKNOWN')"
INSERT = insert("payment_attempt", ATTEMPT)
LOCK_OPEN = text(
    f"SELECT {names(ATTEMPT)}, lease_owner FROM payment_attempt"
    f" WHERE order_id = :order_id AND {OPEN} ORDER BY id FOR UPDATE"
)
FIND = text(
    f"SELECT {names(ATTEMPT)}, lease_owner FROM payment_attempt"
    " WHERE id = ANY(CAST(:ids AS uuid[]))"
)
# A send is counted and committed before it happens, as in the loop.
TAKE = text(
    f"""
    UPDATE payment_attempt AS attempt SET
        lease_owner = :lease,
        lease_until = clock_timestamp() + CAST(:lease_time AS interval),
        next_call = 'query',
        send_count = send_count + CAST(CAST(:sends AS boolean) AS integer),
        first_sent_at = CASE WHEN CAST(:sends AS boolean)
                             THEN coalesce(first_sent_at, :now) ELSE first_sent_at END,
        query_count = query_count + CAST(NOT CAST(:sends AS boolean) AS integer)
    FROM payment_order
    WHERE attempt.id = :id AND payment_order.id = attempt.order_id
      AND attempt.status IN ('STARTED', 'AWAITING_PAYER', 'UNKNOWN')
      AND (lease_until IS NULL OR lease_until < clock_timestamp())
      AND (NOT CAST(:sends AS boolean)
           OR (close_wanted_at IS NULL AND attempt.expires_at > :now))
    RETURNING {names(ATTEMPT, "attempt.")}, attempt.lease_owner,
              payment_order.payer_id, payment_order.period
    """
)
# Leases stay: what is under way may still be recorded.
WANT_CLOSED = text(
    f"""
    UPDATE payment_attempt SET close_wanted_at = coalesce(close_wanted_at, :now), due_at = :now,
        version = version + 1
    WHERE order_id = ANY(CAST(:order_ids AS uuid[])) AND method IS NOT NULL AND {OPEN}
    """
)
# The lease stays here, too: a close under way is recorded, and then the attempt is over.
WANT_AGAIN = text(
    f"""
    UPDATE payment_attempt SET close_wanted_at = NULL, due_at = :now, version = version + 1
    WHERE id = :id AND {OPEN}
    """
)
# Also what ended and is still asked about: its payer may know better than the channel did.
ASK_NOW = text(
    f"""
    UPDATE payment_attempt SET asked_at = :now, due_at = :now, version = version + 1
    WHERE order_id = :order_id
      AND ({OPEN} OR status IN ('DECLINED', 'CLOSED') AND due_at IS NOT NULL)
      AND (asked_at IS NULL OR asked_at <= :asked_before)
    """
)
SHOW_ANEW = text("UPDATE payment_order SET version = version + 1 WHERE id = :order_id")


class PostgresCashierAttempts:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def insert(self, attempt: PaymentAttempt) -> None:
        await self._connection.execute(INSERT, binds(ATTEMPT, [attempt_row(attempt)]))

    async def lock_open(self, order_id: UUID) -> list[PaymentAttempt]:
        found = await self._connection.execute(LOCK_OPEN, {"order_id": order_id})
        attempts = [to_attempt(row) for row in found.mappings()]
        return sorted(attempts, key=lambda attempt: (attempt.created_at, attempt.id))

    async def find(self, ids: Sequence[UUID]) -> dict[UUID, PaymentAttempt]:
        if not ids:
            return {}
        found = await self._connection.execute(FIND, {"ids": sorted(set(ids))})
        return {row["id"]: to_attempt(row) for row in found.mappings()}

    async def take(
        self, attempt_id: UUID, *, sends: bool, now: datetime, lease: UUID, lease_time: timedelta
    ) -> DueAttempt | None:
        taken = await self._connection.execute(
            TAKE,
            {
                "id": attempt_id,
                "sends": sends,
                "now": now,
                "lease": lease,
                "lease_time": lease_time,
            },
        )
        row = taken.mappings().one_or_none()
        if row is None:
            return None
        call = Call.START if sends else Call.QUERY
        return DueAttempt(to_attempt(row), call, lease, row["payer_id"], row["period"])

    async def want_closed(self, order_ids: Sequence[UUID], *, now: datetime) -> None:
        await self._connection.execute(WANT_CLOSED, {"order_ids": list(order_ids), "now": now})

    async def want_again(self, attempt_id: UUID, *, now: datetime) -> None:
        await self._connection.execute(WANT_AGAIN, {"id": attempt_id, "now": now})

    async def ask_now(self, order_id: UUID, *, now: datetime, pause: timedelta) -> bool:
        asked = await self._connection.execute(
            ASK_NOW, {"order_id": order_id, "now": now, "asked_before": now - pause}
        )
        if not asked.rowcount:
            return False
        await self._connection.execute(SHOW_ANEW, {"order_id": order_id})
        return True
