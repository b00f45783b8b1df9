"""Core mode on real servers: what it settles, and what is left when a worker is killed."""

import asyncio
from collections.abc import Iterator

import psycopg
import pytest

from bench.drain import wait_until_drained
from testing.eventually import eventually
from testing.stacks.book import Book
from testing.stacks.core_stack import CoreStack, default_folder
from testing.stacks.generator import Generator

DRAIN_SECONDS = 90.0
# What a killed worker held is free again soon.
FAST_SETTINGS = {
    "payment": {"SONGHE_PAYMENT_CALL_TIMEOUT_SECONDS": "1", "SONGHE_PAYMENT_LEASE_SECONDS": "3"}
}
PAID = "SELECT payment_order_id FROM contribution WHERE status = 'PAID'"
TOLD = """
    SELECT payment_order_id FROM notification
    WHERE template = 'payment_settled' AND channel = 'sms' AND status = 'DELIVERED'
"""


@pytest.fixture(scope="module")
def core() -> Iterator[CoreStack]:
    with CoreStack(default_folder("test"), settings=FAST_SETTINGS) as stack:
        yield stack


async def test_every_order_is_charged_once_and_told_once_although_a_worker_is_killed(
    core: CoreStack,
) -> None:
    generator = Generator(core.databases["billing"])
    await generator.assess(300)

    load = asyncio.create_task(generator.run(rate=100, seconds=3))
    await eventually(lambda: Book.read(core.book_dir).charges.entries, within_seconds=30)
    core.kill("payment-worker")
    core.launch("payment-worker")
    history = await load
    await generator.close()
    core.wait_until_ready("payment-worker")
    wait_until_drained(core.databases, core.kafka, within_seconds=DRAIN_SECONDS)

    orders = {order.payment_order_id for order in history.acknowledged}
    book = Book.read(core.book_dir)
    assert len(orders) == 300
    assert _ids(core.databases["billing"], PAID) == orders
    assert _ids(core.databases["notifier"], TOLD) == orders
    assert len(book.charges.entries) == len(book.messages.entries) == 300
    assert core.exit_code("payment-worker") is None


def _ids(url: str, statement: str) -> set[object]:
    with psycopg.connect(url) as connection:
        return {row[0] for row in connection.execute(statement).fetchall()}
