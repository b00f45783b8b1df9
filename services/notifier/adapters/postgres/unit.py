"""The rows in PostgreSQL: set statements with array binds that run on asyncpg and psycopg."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from services.notifier.application.ports import InboxEntry, Place, SmsState, Transactions
from services.notifier.domain.deliveries import Decision, Delivery
from services.notifier.domain.notifications import (
    Bill,
    Facts,
    Notification,
    OrderOutcome,
    Role,
    Status,
)
from shared.runtime.database.database import Database, units_of
from shared.runtime.database.statements import Connection, RowMapping, text
from shared.runtime.database.unit_of_work import Item
from shared.runtime.database.unit_of_work import Unit as RuntimeUnit

REMEMBER_BILLS = text(
    """
    INSERT INTO bill (contribution_id, scheme, region, period)
    SELECT contribution_id, scheme, region, period
    FROM unnest(CAST(:contribution_ids AS uuid[]), CAST(:schemes AS text[]),
                CAST(:regions AS text[]), CAST(:periods AS text[]))
         AS row (contribution_id, scheme, region, period)
    ORDER BY contribution_id
    ON CONFLICT DO NOTHING
    """
)
# A conflicting row is locked even where nothing changes: the lock is the point.
LOCK_ORDERS = text(
    """
    INSERT INTO payment_order AS known (id, settled, failed)
    SELECT id, CAST(:settled AS boolean), CAST(:failed AS boolean)
    FROM unnest(CAST(:order_ids AS uuid[])) AS row (id)
    ORDER BY id
    ON CONFLICT (id) DO UPDATE SET settled = known.settled OR EXCLUDED.settled,
                                   failed = known.failed OR EXCLUDED.failed
    WHERE EXCLUDED.settled > known.settled OR EXCLUDED.failed > known.failed
    """
)
ADD = text(
    """
    INSERT INTO notification (id, event_id, person_id, channel, template, role, contribution_id,
                              payment_order_id, facts, occurred_at, status, status_at, due_at)
    SELECT id, event_id, person_id, channel, template, role, contribution_id, payment_order_id,
           facts, occurred_at, status, :at, CASE WHEN status = 'QUEUED' THEN now() END
    FROM unnest(CAST(:ids AS uuid[]), CAST(:event_ids AS uuid[]), CAST(:person_ids AS uuid[]),
                CAST(:channels AS text[]), CAST(:templates AS text[]), CAST(:roles AS text[]),
                CAST(:contribution_ids AS uuid[]), CAST(:payment_order_ids AS uuid[]),
                CAST(:facts AS text[]), CAST(:occurred_ats AS timestamptz[]),
                CAST(:statuses AS text[]))
         AS row (id, event_id, person_id, channel, template, role, contribution_id,
                 payment_order_id, facts, occurred_at, status)
    ORDER BY id
    ON CONFLICT DO NOTHING
    """
)
DELIVERY_COLUMNS = """
    told.id, told.person_id, told.role, told.template, told.contribution_id,
    told.payment_order_id, told.facts, told.occurred_at, told.status, told.status_at,
    told.sent_at, told.try_count, told.send_count, told.version,
    bill.scheme, bill.region, bill.period, payment_order.settled, payment_order.failed
"""
DELIVERY_JOINS = """
    LEFT JOIN bill ON bill.contribution_id = told.contribution_id
    LEFT JOIN payment_order ON payment_order.id = told.payment_order_id
"""
QUEUED_OF_ORDERS = text(
    f"""
    SELECT {DELIVERY_COLUMNS} FROM notification AS told {DELIVERY_JOINS}
    WHERE told.payment_order_id = ANY(CAST(:order_ids AS uuid[])) AND told.status = 'QUEUED'
      AND told.template = ANY(CAST(:templates AS text[]))
    ORDER BY told.id
    FOR UPDATE OF told
    """
)
CLAIM_DUE = text(
    f"""
    WITH due AS (
        SELECT id FROM notification
        WHERE due_at <= now() AND due_at IS NOT NULL
        ORDER BY due_at LIMIT :limit
        FOR UPDATE SKIP LOCKED
    ), told AS (
        UPDATE notification
        SET due_at = now() + make_interval(secs => CAST(:lease_seconds AS double precision)),
            version = version + 1
        FROM due WHERE notification.id = due.id
        RETURNING notification.*
    )
    SELECT {DELIVERY_COLUMNS} FROM told {DELIVERY_JOINS} ORDER BY told.id
    """
)
SAVE = text(
    """
    UPDATE notification
    SET status = row.status, status_at = row.status_at, sent_at = row.sent_at,
        try_count = row.try_count, send_count = row.send_count,
        due_at = now() + make_interval(secs => row.due_seconds)
    FROM unnest(CAST(:ids AS uuid[]), CAST(:versions AS integer[]), CAST(:expected AS text[]),
                CAST(:statuses AS text[]), CAST(:status_ats AS timestamptz[]),
                CAST(:sent_ats AS timestamptz[]), CAST(:try_counts AS integer[]),
                CAST(:send_counts AS integer[]), CAST(:due_seconds AS double precision[]))
         AS row (id, version, expected, status, status_at, sent_at, try_count, send_count,
                 due_seconds)
    WHERE notification.id = row.id AND notification.version = row.version
      AND notification.status = row.expected
    RETURNING notification.id
    """
)
INBOX_OF = text(
    """
    SELECT told.id, told.template, told.role, told.contribution_id, told.payment_order_id,
           told.facts, told.occurred_at, bill.scheme, bill.region, bill.period,
           sms.status AS sms_status, sms.status_at AS sms_at
    FROM notification AS told
    LEFT JOIN bill ON bill.contribution_id = told.contribution_id
    LEFT JOIN notification AS sms ON sms.event_id = told.event_id
         AND sms.channel = 'sms' AND sms.person_id = told.person_id
    WHERE told.channel = 'inbox' AND told.person_id = CAST(:person_id AS uuid)
      AND (CAST(:before_at AS timestamptz) IS NULL OR (told.occurred_at, told.id)
           < (CAST(:before_at AS timestamptz), CAST(:before_id AS uuid)))
    ORDER BY told.occurred_at DESC, told.id DESC
    LIMIT :limit
    """
)

_facts = msgspec.json.Decoder(Facts)


class PostgresNotifications:
    """The rows inside one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def remember_bills(self, bills: Sequence[Bill]) -> None:
        if bills:
            await self._connection.execute(
                REMEMBER_BILLS,
                {
                    "contribution_ids": [bill.contribution_id for bill in bills],
                    "schemes": [bill.scheme for bill in bills],
                    "regions": [bill.region for bill in bills],
                    "periods": [bill.period for bill in bills],
                },
            )

    async def lock_orders(self, order_ids: Sequence[UUID], *, outcome: OrderOutcome | None) -> None:
        if order_ids:
            flags = {each.value: each is outcome for each in OrderOutcome}
            await self._connection.execute(LOCK_ORDERS, {"order_ids": list(order_ids), **flags})

    async def add(self, notifications: Sequence[Notification], *, at: datetime) -> None:
        if notifications:
            await self._connection.execute(ADD, {"at": at, **_columns(notifications)})

    async def queued_of_orders(
        self, order_ids: Sequence[UUID], *, templates: Collection[str]
    ) -> list[Delivery]:
        if not order_ids:
            return []
        wanted = {"order_ids": list(order_ids), "templates": sorted(templates)}
        rows = await self._connection.execute(QUEUED_OF_ORDERS, wanted)
        return [_delivery(row) for row in rows.mappings()]

    async def claim_due(self, *, limit: int, lease_seconds: float) -> list[Delivery]:
        wanted = {"limit": limit, "lease_seconds": lease_seconds}
        rows = await self._connection.execute(CLAIM_DUE, wanted)
        return [_delivery(row) for row in rows.mappings()]

    async def save(self, decisions: Sequence[Decision], claimed: Sequence[Delivery]) -> set[UUID]:
        if not decisions:
            return set()
        expected = {delivery.id: delivery.status for delivery in claimed}
        deliveries = [decision.delivery for decision in decisions]
        rows = await self._connection.execute(
            SAVE,
            {
                "ids": [delivery.id for delivery in deliveries],
                "versions": [delivery.version for delivery in deliveries],
                "expected": [expected[delivery.id].value for delivery in deliveries],
                "statuses": [delivery.status.value for delivery in deliveries],
                "status_ats": [delivery.status_at for delivery in deliveries],
                "sent_ats": [delivery.sent_at for delivery in deliveries],
                "try_counts": [delivery.try_count for delivery in deliveries],
                "send_counts": [delivery.send_count for delivery in deliveries],
                "due_seconds": [decision.due_seconds for decision in decisions],
            },
        )
        return {row.id for row in rows}

    async def inbox_of(
        self, person_id: UUID, *, limit: int, before: Place | None
    ) -> list[InboxEntry]:
        rows = await self._connection.execute(
            INBOX_OF,
            {
                "person_id": person_id,
                "limit": limit,
                "before_at": before.occurred_at if before else None,
                "before_id": before.id if before else None,
            },
        )
        return [_entry(row) for row in rows.mappings()]


@dataclass(frozen=True, slots=True)
class NotifierUnit:
    """The runtime's unit with this service's rows."""

    runtime: RuntimeUnit

    @property
    def notifications(self) -> PostgresNotifications:
        return PostgresNotifications(self.runtime.connection)

    async def open_item(self, kind: str, reference: UUID, detail: str) -> None:
        await self.runtime.open_items([Item(kind, str(reference), detail)])


def transactions_of(database: Database) -> Transactions:
    """Units of the notifier on this database."""
    return units_of(database.transaction, NotifierUnit)


def statements_of(database: Database) -> Transactions:
    """Units for one statement each: one trip to the database instead of three."""
    return units_of(database.one_statement, NotifierUnit)


def _columns(notifications: Sequence[Notification]) -> Mapping[str, list[Any]]:
    return {
        "ids": [each.id for each in notifications],
        "event_ids": [each.event_id for each in notifications],
        "person_ids": [each.person_id for each in notifications],
        "channels": [each.channel.value for each in notifications],
        "templates": [each.template for each in notifications],
        "roles": [each.role.value for each in notifications],
        "contribution_ids": [each.contribution_id for each in notifications],
        "payment_order_ids": [each.payment_order_id for each in notifications],
        "facts": [msgspec.json.encode(each.facts).decode() for each in notifications],
        "occurred_ats": [each.occurred_at for each in notifications],
        "statuses": [each.first_status.value for each in notifications],
    }


def _delivery(row: RowMapping) -> Delivery:
    return Delivery(
        id=row["id"],
        person_id=row["person_id"],
        role=Role(row["role"]),
        template=row["template"],
        payment_order_id=row["payment_order_id"],
        bill=_bill(row),
        facts=_facts.decode(row["facts"]),
        occurred_at=row["occurred_at"],
        outcomes=frozenset(outcome for outcome in OrderOutcome if row[outcome.value]),
        status=Status(row["status"]),
        status_at=row["status_at"],
        sent_at=row["sent_at"],
        try_count=row["try_count"],
        send_count=row["send_count"],
        version=row["version"],
    )


def _entry(row: RowMapping) -> InboxEntry:
    sms_status = row["sms_status"]
    return InboxEntry(
        id=row["id"],
        template=row["template"],
        role=Role(row["role"]),
        contribution_id=row["contribution_id"],
        payment_order_id=row["payment_order_id"],
        bill=_bill(row),
        facts=_facts.decode(row["facts"]),
        occurred_at=row["occurred_at"],
        sms=SmsState(status=Status(sms_status), at=row["sms_at"]) if sms_status else None,
    )


def _bill(row: RowMapping) -> Bill | None:
    if row["period"] is None:
        return None
    return Bill(
        contribution_id=row["contribution_id"],
        scheme=row["scheme"],
        region=row["region"],
        period=row["period"],
    )
