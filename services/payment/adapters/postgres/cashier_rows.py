"""The rows of cashiers on PostgreSQL: attempts as payers move them, notifications, switches."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from services.payment.adapters.postgres.columns import (
    ATTEMPT,
    attempt_row,
    to_attempt,
)
from services.payment.application.ports import DueAttempt, HeardNotification
from services.payment.domain.payment_attempt import Call, PaymentAttempt
from services.payment.domain.switch import Stopped, Switch
from shared.runtime.database.set_statements import Columns, binds, insert, names
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

NOTIFICATION: Columns = {
    "channel": "text",
    "notification_id": "text",
    "attempt_id": "uuid",
    "answer": "text",
    "occurred_at": "timestamptz",
    "received_at": "timestamptz",
    "body_sha256": "bytea",
}
CLAIM = insert(
    "channel_notification",
    NOTIFICATION,
    "ON CONFLICT DO NOTHING RETURNING channel, notification_id",
)
STOPPED = text(
    """
    SELECT channel FROM (
        SELECT DISTINCT ON (channel) channel, is_stopped FROM channel_switch
        ORDER BY channel, id DESC
    ) AS newest WHERE is_stopped
    """
)
NEWEST_SWITCHES = text(
    "SELECT DISTINCT ON (channel) channel, is_stopped, switched_by, why, switched_at"
    " FROM channel_switch ORDER BY channel, id DESC"
)
SWITCH = text(
    "INSERT INTO channel_switch (channel, is_stopped, switched_by, why, switched_at)"
    " VALUES (:channel, :is_stopped, :switched_by, :why, :switched_at)"
)
ISSUE_TOKEN = text(
    "INSERT INTO return_token (token_hash, order_id, expires_at)"
    " VALUES (:token_hash, :order_id, :expires_at)"
)
FIND_TOKEN = text(
    "SELECT order_id FROM return_token WHERE token_hash = :token_hash AND expires_at > :now"
)


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

    async def ask_now(self, order_id: UUID, *, now: datetime, pause: timedelta) -> bool:
        asked = await self._connection.execute(
            ASK_NOW, {"order_id": order_id, "now": now, "asked_before": now - pause}
        )
        if not asked.rowcount:
            return False
        await self._connection.execute(SHOW_ANEW, {"order_id": order_id})
        return True


class PostgresNotifications:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def claim(self, heard: Sequence[HeardNotification]) -> set[tuple[str, str]]:
        # In one order everywhere: two processes that claim the same ones must not lock crosswise.
        rows = sorted((_notification_row(one) for one in heard), key=_key)
        claimed = await self._connection.execute(CLAIM, binds(NOTIFICATION, rows))
        return {(row.channel, row.notification_id) for row in claimed}


class PostgresSwitches:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def stopped(self) -> Stopped:
        found = await self._connection.execute(STOPPED)
        return Stopped(frozenset(row.channel for row in found))

    async def newest(self) -> dict[str, Switch]:
        """How each channel that was ever switched stands, with who did it, when and why."""
        found = await self._connection.execute(NEWEST_SWITCHES)
        return {row["channel"]: Switch(**row) for row in found.mappings()}

    async def turn(self, switch: Switch) -> None:
        await self._connection.execute(
            SWITCH,
            {
                "channel": switch.channel,
                "is_stopped": switch.is_stopped,
                "switched_by": switch.switched_by,
                "why": switch.why,
                "switched_at": switch.switched_at,
            },
        )


class PostgresReturnTokens:
    """Random tokens, kept as hashes: who reads the table cannot use them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def issue(self, token: str, *, order_id: UUID, expires_at: datetime) -> None:
        row = {"token_hash": _hash(token), "order_id": order_id, "expires_at": expires_at}
        await self._connection.execute(ISSUE_TOKEN, row)

    async def order_of(self, token: str, *, now: datetime) -> UUID | None:
        found = await self._connection.execute(FIND_TOKEN, {"token_hash": _hash(token), "now": now})
        row = found.one_or_none()
        return row.order_id if row else None


def _notification_row(heard: HeardNotification) -> dict[str, object]:
    told = heard.notification
    return {
        "channel": heard.channel,
        "notification_id": told.notification_id,
        "attempt_id": heard.attempt_id,
        "answer": type(told.answer).__name__.lower() if told.answer else "nothing",
        "occurred_at": told.occurred_at,
        "received_at": heard.received_at,
        "body_sha256": heard.body_sha256,
    }


def _key(row: dict[str, object]) -> tuple[str, str]:
    return str(row["channel"]), str(row["notification_id"])


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
