"""Collects the world: the tables of billing, payment and notifier, and their topics."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from psycopg.rows import dict_row
from sqlalchemy.engine import make_url

from testing.checker.log_reader import Bounds, log_bounds, read_topic
from testing.checker.story import (
    Attempt,
    Contribution,
    Item,
    Letter,
    Notification,
    Order,
    OutboxRow,
    Refund,
    Request,
    Standing,
    World,
)

Row = TypeVar("Row")

CONSUMERS = {
    "billing": ("payment.orders",),
    "payment": ("billing.contributions",),
    "notifier": ("billing.contributions", "payment.orders"),
}
TOPICS = ("billing.contributions", "payment.orders")

CONTRIBUTIONS = "SELECT id, status, paid_by_attempt_id FROM contribution"
REQUESTS = """
SELECT payment_order_id AS order_id, contribution_id, status, attempt_id FROM payment_request
"""
ORDERS = """
SELECT id, contribution_id, status, amount_fen, failed_version IS NOT NULL AS has_failed,
       settled_version IS NOT NULL AS has_settled, attempt_id
FROM payment_order
"""
ATTEMPTS = "SELECT id, order_id, received_fen FROM payment_attempt"
REFUNDS = "SELECT id, attempt_id, amount_fen, status FROM refund"
NOTIFICATIONS = "SELECT id, event_id, channel, person_id, status FROM notification"
SETTLED = "SELECT id FROM payment_order WHERE settled"
ITEMS = "SELECT %s::text AS service, kind, reference FROM operator_item WHERE closed_at IS NULL"
LETTERS = """
SELECT %s::text AS service,
       coalesce(event_id::text, topic || '/' || partition || '@' || "offset") AS reference, error
FROM dead_letter WHERE resolved_at IS NULL
"""
BLOCKED = "SELECT %s::text AS service, convert_from(key, 'UTF8') AS key FROM blocked_key"
# A row that is told again has a row of its own or is sent once more: one line per event.
OUTBOX = """
SELECT %s::text AS service, event_id,
       bool_and(resend_at IS NULL AND queued.id IS NULL) AS is_sent
FROM outbox LEFT JOIN outbox_queue AS queued USING (created_at, id) GROUP BY event_id
"""
INBOX = "SELECT consumer, event_id FROM inbox"
POSITIONS = "SELECT consumer, topic, partition, next_offset FROM position"


def read_world(databases: Mapping[str, str], bootstrap_servers: str) -> World:
    """Read everything; blocking. `databases`: service → URL, whatever its driver.

    The services may run, but should be at rest: the tables are read one after the other.
    """
    billing, payment, notifier = (
        _Tables(service, databases[service]) for service in ("billing", "payment", "notifier")
    )
    everybody = (billing, payment, notifier)
    outbox = [row for tables in everybody for row in tables.all_of_service(OUTBOX, OutboxRow)]
    bounds = {topic: log_bounds(bootstrap_servers, topic) for topic in TOPICS}
    return World(
        contributions=billing.all(CONTRIBUTIONS, Contribution),
        requests=billing.all(REQUESTS, Request),
        orders=payment.all(ORDERS, Order),
        attempts=payment.all(ATTEMPTS, Attempt),
        refunds=payment.all(REFUNDS, Refund),
        notifications=notifier.all(NOTIFICATIONS, Notification),
        settled_at_notifier=frozenset(notifier.all(SETTLED, _id)),
        items=[item for tables in everybody for item in tables.all_of_service(ITEMS, Item)],
        letters=[each for tables in everybody for each in tables.all_of_service(LETTERS, Letter)],
        blocked_keys=[
            each for tables in everybody for each in tables.all_of_service(BLOCKED, _blocked)
        ],
        outbox=outbox,
        inbox=_inbox(everybody),
        standings=[each for tables in everybody for each in _standings(tables, bounds)],
        # Behind the outbox: what was sent by then is in the log now.
        records=[record for topic in TOPICS for record in read_topic(bootstrap_servers, topic)],
    )


class _Tables:
    """The tables of one service."""

    def __init__(self, service: str, url: str) -> None:
        self.service = service
        plain = make_url(url).set(drivername="postgresql")
        self._url = plain.render_as_string(hide_password=False)

    def all(self, query: str, of: Callable[..., Row], *parameters: str) -> list[Row]:
        with psycopg.connect(self._url, row_factory=dict_row) as connection:
            cursor = connection.cursor(binary=True)
            cursor.execute(query.encode(), parameters)
            return [of(**row) for row in cursor]

    def all_of_service(self, query: str, of: Callable[..., Row]) -> list[Row]:
        return self.all(query, of, self.service)


def _inbox(everybody: Sequence[_Tables]) -> dict[str, list[UUID]]:
    claimed: dict[str, list[UUID]] = defaultdict(list)
    for tables in everybody:
        for consumer, event_id in tables.all(
            INBOX, lambda consumer, event_id: (consumer, event_id)
        ):
            claimed[consumer].append(event_id)
    return claimed


def _standings(tables: _Tables, bounds: Mapping[str, Bounds]) -> list[Standing]:
    """A partition without a stored position is read from its beginning."""
    stored = {
        (topic, partition): next_offset
        for consumer, topic, partition, next_offset in tables.all(POSITIONS, _position)
        if consumer == tables.service
    }
    return [
        Standing(tables.service, topic, partition, stored.get((topic, partition), first), end)
        for topic in CONSUMERS[tables.service]
        for partition, (first, end) in bounds[topic].items()
    ]


def _id(id: UUID) -> UUID:
    return id


def _blocked(service: str, key: str) -> tuple[str, str]:
    return service, key


def _position(**row: Any) -> tuple[str, str, int, int]:
    return row["consumer"], row["topic"], row["partition"], row["next_offset"]
