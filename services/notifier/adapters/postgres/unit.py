"""The rows in PostgreSQL: set statements with array binds that run on asyncpg and psycopg."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from services.notifier.application.ports import (
    InboxEntry,
    Place,
    SmsState,
    Statements,
    Transactions,
)
from services.notifier.domain.deliveries import Decision, Delivery
from services.notifier.domain.notifications import (
    SMS_STATES,
    Bill,
    Facts,
    Notification,
    OrderOutcome,
    Role,
    Status,
)
from shared.kernel.errors import LostGuard
from shared.runtime.database.database import Database, units_of
from shared.runtime.database.set_statements import (
    Columns,
    Row,
    assignments,
    binds,
    insert,
    names,
    unnest,
)
from shared.runtime.database.statements import RowMapping, text
from shared.runtime.database.unit_of_work import Item, StatementUnit, Unit

BILL: Columns = {
    "contribution_id": "uuid",
    "scheme": "text",
    "region": "text",
    "period": "text",
}
NEW: Columns = {
    "id": "uuid",
    "event_id": "uuid",
    "person_id": "uuid",
    "channel": "text",
    "template": "text",
    "role": "text",
    "contribution_id": "uuid",
    "payment_order_id": "uuid",
    "facts": "text",
    "occurred_at": "timestamptz",
    "status": "text",
}
# What changes during an SMS's life.
STATE: Columns = {
    "status": "text",
    "status_at": "timestamptz",
    "sent_at": "timestamptz",
    "try_count": "integer",
    "send_count": "integer",
}
# A claim moves the version; a save moves the status only, whoever holds the row.
SAVED: Columns = {
    "id": "uuid",
    "version": "integer",
    "status_before": "text",
    **STATE,
    "due_seconds": "double precision",
}
REMEMBER_BILLS = insert("bill", BILL, "ORDER BY contribution_id ON CONFLICT DO NOTHING")
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
    f"""
    INSERT INTO notification ({names(NEW)}, status_at, due_at)
    SELECT {names(NEW)}, :at, CASE WHEN status = 'QUEUED' THEN now() END
    FROM {unnest(NEW)} ORDER BY id ON CONFLICT DO NOTHING
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
    f"""
    UPDATE notification
    SET {assignments(STATE)}, due_at = now() + make_interval(secs => row.due_seconds)
    FROM {unnest(SAVED)}
    WHERE notification.id = row.id AND notification.version = row.version
      AND notification.status = row.status_before
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

    def __init__(self, unit: StatementUnit) -> None:
        self._unit = unit
        self._connection = unit.connection

    async def remember_bills(self, bills: Sequence[Bill]) -> None:
        if bills:
            rows = [bill_row(bill) for bill in bills]
            await self._connection.execute(REMEMBER_BILLS, binds(BILL, rows))

    async def lock_orders(self, order_ids: Sequence[UUID], *, outcome: OrderOutcome | None) -> None:
        if order_ids:
            flags = {each.value: each is outcome for each in OrderOutcome}
            await self._connection.execute(LOCK_ORDERS, {"order_ids": list(order_ids), **flags})

    async def add(self, notifications: Sequence[Notification], *, at: datetime) -> None:
        if notifications:
            rows = [notification_row(notification) for notification in notifications]
            await self._connection.execute(ADD, {"at": at, **binds(NEW, rows)})

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

    async def save(self, changes: Sequence[tuple[Delivery, Decision]]) -> None:
        written = await self._save(changes)
        if len(written) != len(changes):
            raise LostGuard("notification", wanted=len(changes), saved=len(written))

    async def save_if_held(
        self, decisions: Sequence[Decision], claimed: Sequence[Delivery]
    ) -> set[UUID]:
        before = {delivery.id: delivery for delivery in claimed}
        return await self._save([(before[one.delivery.id], one) for one in decisions])

    async def _save(self, changes: Sequence[tuple[Delivery, Decision]]) -> set[UUID]:
        if not changes:
            return set()
        rows = [saved_row(before, decision) for before, decision in changes]
        found = await self._connection.execute(SAVE, binds(SAVED, rows))
        written = {row.id for row in found}
        self._unit.count_moves(
            SMS_STATES,
            [(old.status, new.status) for old, new in changes if old.id in written],
        )
        return written

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


class NotifierStatement:
    """The runtime's unit for one statement, with this service's rows."""

    def __init__(self, unit: StatementUnit) -> None:
        self.notifications = PostgresNotifications(unit)


class NotifierUnit:
    """The runtime's unit with this service's rows."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self.notifications = PostgresNotifications(unit)

    async def open_item(self, kind: str, reference: UUID, detail: str) -> None:
        await self._unit.open_items([Item(kind, str(reference), detail)])


def transactions_of(database: Database) -> Transactions:
    """Units of the notifier on this database."""
    return units_of(database.transaction, NotifierUnit)


def statements_of(database: Database) -> Statements:
    """Units for one statement each: one trip to the database instead of three."""
    return units_of(database.one_statement, NotifierStatement)


def bill_row(bill: Bill) -> Row:
    return {
        "contribution_id": bill.contribution_id,
        "scheme": bill.scheme,
        "region": bill.region,
        "period": bill.period,
    }


def notification_row(notification: Notification) -> Row:
    return {
        "id": notification.id,
        "event_id": notification.event_id,
        "person_id": notification.person_id,
        "channel": notification.channel.value,
        "template": notification.template,
        "role": notification.role.value,
        "contribution_id": notification.contribution_id,
        "payment_order_id": notification.payment_order_id,
        "facts": msgspec.json.encode(notification.facts).decode(),
        "occurred_at": notification.occurred_at,
        "status": notification.first_status.value,
    }


def saved_row(before: Delivery, decision: Decision) -> Row:
    after = decision.delivery
    return {
        "id": after.id,
        "version": after.version,
        "status_before": before.status.value,
        "status": after.status.value,
        "status_at": after.status_at,
        "sent_at": after.sent_at,
        "try_count": after.try_count,
        "send_count": after.send_count,
        "due_seconds": decision.due_seconds,
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
