"""Whether a run counts: exact ratios first, then the checker over everything that was settled."""

from uuid import UUID

import psycopg

from bench.step import Void
from bench.validity import require_exact
from devstack.report import Report
from testing.checker import Books, Charge, History, check, read_world
from testing.stacks.book import Book
from testing.stacks.core_stack import CoreStack

ORDERS = "SELECT payment_order_id, contribution_id FROM payment_request"
TOLD_MAX = 10


def judge(core: CoreStack, report: Report) -> list[str]:
    """What is wrong with the run; nothing, where it counts.

    Every request that billing has committed is taken as acknowledged, which is more than the
    clients were told.
    """
    with psycopg.connect(core.databases["billing"]) as connection:
        orders: dict[UUID, UUID] = dict(connection.execute(ORDERS).fetchall())
    try:
        require_exact(core, len(orders))
    except Void as reason:
        return [str(reason)]
    report.step("checker", f"judges {len(orders):,} orders")
    book = Book.read(core.book_dir)
    books = Books(
        charges=[Charge(charge.id, charge.amount_fen) for charge in book.charges.entries.values()],
        sms=list(book.messages.entries),
    )
    found = check(History(orders), books, read_world(core.databases, core.kafka))
    report.step("checker", f"{len(found)} violations")
    return [str(violation) for violation in found[:TOLD_MAX]]
