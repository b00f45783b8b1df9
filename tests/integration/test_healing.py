"""What gets lost on the way is asked for again; members come and go without harm."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg

from devstack.stack import Stack
from testing.eventually import eventually
from tests.integration.support.letters import operate
from tests.integration.support.load import crowd, pay_all, until_all_paid
from tests.integration.support.people import People
from tests.integration.support.sandbox import Sandbox
from tests.integration.support.topics import end_offsets, until_consumed
from tests.integration.support.workers import one_more_worker


async def test_an_outcome_hidden_from_billing_is_asked_for_and_arrives(
    stack: Stack, people: People, sandbox: Sandbox
) -> None:
    person = people.somebody()
    contribution = await person.assess()
    # Slow enough that billing can be stopped between the request and its outcome.
    await sandbox.fault("bank", "slow", delay_ms=3000, count=1)
    order = await person.pay(contribution["id"])
    await _until_sent(stack, "billing")
    stack.stop("billing-worker")

    async def settled() -> bool:
        found = await person.call("GET", f"/payment/v1/orders/{order['payment_order_id']}")
        assert found.status_code == 200, found.text
        assert found.json()["status"] == "settled", found.text
        return True

    await eventually(settled, within_seconds=20)
    await _until_sent(stack, "payment")
    _skip_to_the_end(stack, "billing", "payment.orders")
    stack.start("billing-worker")

    await person.until_status(contribution["id"], "paid", within_seconds=30)
    assert _count(stack, "billing", "outbox", "headers LIKE '%PaymentOutcomeAsked%'") >= 1


async def test_resending_events_heals_a_notifier_that_missed_them(
    stack: Stack, people: People, sandbox: Sandbox
) -> None:
    person = await people.logged_in()
    stack.stop("notifier-worker")
    contribution = await person.assess()
    await person.pay(contribution["id"])
    await person.until_status(contribution["id"], "paid")
    for service in ("billing", "payment"):
        await _until_sent(stack, service)
    for topic in ("billing.contributions", "payment.orders"):
        _skip_to_the_end(stack, "notifier", topic)
    stack.start("notifier-worker")
    await until_consumed(stack.plan().kafka_bootstrap_servers, stack.databases)
    assert (await person.get("/notifier/v1/notifications"))["items"] == []

    for service in ("billing", "payment"):
        operate(stack, service, "events", "resend", "--since", _an_hour_ago())

    async def told() -> bool:
        items = (await person.get("/notifier/v1/notifications"))["items"]
        assert len(items) == 3, items
        assert person.phone is not None
        texts = [message["text"] for message in await sandbox.messages_to(person.phone)]
        assert sum("1,454.00" in text for text in texts) == 1, texts
        return True

    await eventually(told, within_seconds=30)


async def test_a_second_member_that_joins_and_leaves_loses_and_doubles_nothing(
    stack: Stack, people: People, sandbox: Sandbox
) -> None:
    before = await sandbox.book()
    persons = await crowd(people, 200)
    watching = asyncio.create_task(_watch_positions(stack))

    paying = asyncio.create_task(pay_all(persons))
    for _ in range(2):
        for service in ("payment", "billing"):
            await asyncio.to_thread(_join_and_leave, stack, service)
    await paying
    await until_all_paid(stack, persons)

    watching.cancel()
    went_back = await asyncio.gather(watching, return_exceptions=True)
    assert isinstance(went_back[0], asyncio.CancelledError), went_back
    after = await sandbox.book()
    assert after["succeeded_count"] - before["succeeded_count"] == len(persons)
    ids = [person.id for person in persons]
    settled = _count_of(stack, "payment", "payment_order", ids, "status = 'SETTLED'")
    assert settled == len(persons)


def _join_and_leave(stack: Stack, service: str) -> None:
    with one_more_worker(stack, service):
        # Ready means that it has been given partitions; now it leaves again.
        return


async def _watch_positions(stack: Stack) -> None:
    """Raises AssertionError when a stored position goes backwards."""
    last: dict[tuple[str, str, int], int] = {}
    while True:
        for service in ("billing", "payment", "notifier"):
            for row in await asyncio.to_thread(_positions, stack, service):
                place, offset = (row[0], row[1], row[2]), row[3]
                assert offset >= last.get(place, 0), f"{place} went back to {offset}"
                last[place] = offset
        await asyncio.sleep(0.05)


def _positions(stack: Stack, service: str) -> list[tuple[str, str, int, int]]:
    with psycopg.connect(stack.databases[service]) as connection:
        return connection.execute(
            "SELECT consumer, topic, partition, next_offset FROM position"
        ).fetchall()


def _skip_to_the_end(stack: Stack, service: str, topic: str) -> None:
    ends = end_offsets(stack.plan().kafka_bootstrap_servers, topic)
    with psycopg.connect(stack.databases[service]) as connection:
        for partition, end in ends.items():
            connection.execute(
                "UPDATE position SET next_offset = %s"
                " WHERE consumer = %s AND topic = %s AND partition = %s",
                (end, service, topic, partition),
            )


async def _until_sent(stack: Stack, service: str) -> None:
    await eventually(lambda: _count(stack, service, "outbox_queue", "true") == 0)


def _count(stack: Stack, service: str, table: str, condition: str) -> int:
    with psycopg.connect(stack.databases[service]) as connection:
        row = connection.execute(
            f"SELECT count(*) FROM {table} WHERE {condition}".encode()
        ).fetchone()
    assert row is not None
    count: int = row[0]
    return count


def _count_of(stack: Stack, service: str, table: str, persons: Sequence[UUID], what: str) -> int:
    with psycopg.connect(stack.databases[service]) as connection:
        row = connection.execute(
            f"SELECT count(*) FROM {table} WHERE insured_person_id = ANY(%s) AND {what}".encode(),
            (list(persons),),
        ).fetchone()
    assert row is not None
    count: int = row[0]
    return count


def _an_hour_ago() -> str:
    return (datetime.now(UTC) - timedelta(hours=1)).isoformat()
