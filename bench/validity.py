"""When a run counts: durable settings, every order complete, nothing waits, exact event ratios."""

from collections.abc import Mapping

import psycopg

from bench.drain import end_offsets, look
from bench.step import Void
from shared.kernel.events import CONTRIBUTIONS_TOPIC, ORDERS_TOPIC
from shared.runtime.messaging import sender
from testing.stacks.book import Book
from testing.stacks.core_stack import CoreStack

DURABLE = {"synchronous_commit": "on", "fsync": "on", "full_page_writes": "on"}

OUTBOX = "SELECT count(*) FROM outbox"
BILLING_INBOX = "SELECT count(*) FROM inbox WHERE consumer = 'billing'"
# Service, statement, and how many of it there must be for one order.
PER_ORDER: tuple[tuple[str, str, int], ...] = (
    ("billing", "SELECT count(*) FROM contribution WHERE status = 'PAID'", 1),
    ("billing", "SELECT count(*) FROM payment_request WHERE status = 'SETTLED'", 1),
    # ContributionAssessed and PaymentRequested.
    ("billing", OUTBOX, 2),
    ("billing", BILLING_INBOX, 1),
    ("payment", "SELECT count(*) FROM payment_order WHERE status = 'SETTLED'", 1),
    ("payment", "SELECT count(*) FROM payment_attempt WHERE status = 'SUCCEEDED'", 1),
    ("payment", "SELECT count(*) FROM payment_attempt", 1),
    ("payment", OUTBOX, 1),
    ("payment", "SELECT count(*) FROM inbox WHERE consumer = 'payment'", 1),
    ("notifier", "SELECT count(*) FROM inbox WHERE consumer = 'notifier'", 3),
    # Assessed and requested in the inbox; settled in the inbox and as an SMS.
    ("notifier", "SELECT count(*) FROM notification", 4),
    ("notifier", "SELECT count(*) FROM notification WHERE status = 'DELIVERED'", 4),
)
RECORDS_PER_ORDER = {CONTRIBUTIONS_TOPIC: 2, ORDERS_TOPIC: 1}
# How often payment announced its channels, which belongs to no order: its list's version. These
# hold one more each time.
ANNOUNCEMENTS = "SELECT coalesce(max(version), 0) FROM channel_list"
WITH_ANNOUNCEMENTS = {("payment", OUTBOX), ("billing", BILLING_INBOX), ("kafka", ORDERS_TOPIC)}


def require_durable(core: CoreStack) -> dict[str, str]:
    """The settings that make a commit and an acknowledgement last. Raises Void."""
    found = {"acks": sender.ACKS}
    for url in core.databases.values():
        with psycopg.connect(url) as connection:
            for name in DURABLE:
                row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
                assert row is not None
                found[name] = row[0]
        if found != {"acks": "all", **DURABLE}:
            raise Void(f"the settings are not durable: {found}")
    return found


def require_exact(core: CoreStack, orders: int) -> None:
    """Everything happened exactly once per order, and nothing waits. Raises Void."""
    announced = _count(core.databases, "payment", ANNOUNCEMENTS)

    def expected(where: str, what: str, per_order: int) -> int:
        return per_order * orders + (announced if (where, what) in WITH_ANNOUNCEMENTS else 0)

    waiting = look(core.databases, core.kafka)
    if not waiting.is_nothing:
        raise Void(f"something still waits: {waiting}")
    faults = [
        f"{service}: {statement} gave {count}, expected {wanted}"
        for service, statement, per_order in PER_ORDER
        if (count := _count(core.databases, service, statement))
        != (wanted := expected(service, statement, per_order))
    ]
    ends = end_offsets(core.kafka)
    for topic, per_order in RECORDS_PER_ORDER.items():
        count = sum(end for (name, _), end in ends.items() if name == topic)
        if count != (wanted := expected("kafka", topic, per_order)):
            faults.append(f"{topic} holds {count} records, expected {wanted}")
    book = Book.read(core.book_dir)
    for name, entries in (("charges", book.charges), ("messages", book.messages)):
        counts = len(entries.entries), sum(entries.call_counts.values())
        if counts != (orders, orders):
            faults.append(f"the book holds {counts[0]} {name} of {counts[1]} calls")
    if faults:
        raise Void("; ".join(faults))


def _count(databases: Mapping[str, str], service: str, statement: str) -> int:
    with psycopg.connect(databases[service]) as connection:
        row = connection.execute(statement).fetchone()
        assert row is not None
        return int(row[0])
