"""Payment attempts as loops claim them and answers change them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from services.payment.adapters.postgres.columns import (
    ATTEMPT,
    ATTEMPT_STATE,
    attempt_row,
    to_attempt,
)
from services.payment.application.ports import DueAttempt
from services.payment.domain.payment_attempt import ATTEMPT_TRANSITIONS, Call, PaymentAttempt
from shared.runtime.database.set_statements import (
    GuardedUpdate,
    names,
    save_guarded,
)
from shared.runtime.database.statements import Statement, text
from shared.runtime.database.unit_of_work import StatementUnit

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


def _call(*, sends: bool, never_sent: bool) -> Call | None:
    if never_sent:
        return None
    return Call.START if sends else Call.QUERY
