"""Replays change nothing: not with the inbox, and not without it."""

import random

import psycopg
import pytest

from devstack.stack import Stack
from testing.eventually import eventually
from testing.state_hash import state_hashes
from tests.integration.support.letters import operate
from tests.integration.support.people import People, Person
from tests.integration.support.sandbox import Sandbox
from tests.integration.support.topics import Record, read_all, send, until_consumed

SEED = 20261124
# What channels tell by themselves about orders of other tests may come meanwhile.
TOLD_FROM_OUTSIDE = ("channel_notification", "refused_notification")


@pytest.fixture
async def finished_sagas(stack: Stack, people: People, sandbox: Sandbox) -> list[Person]:
    """Paid at once, declined and paid again, unknown and then paid; everything has come to rest."""
    persons = [await people.logged_in() for _ in range(3)]
    for person, fault in zip(persons, (None, "decline", "timeout_after_booking"), strict=True):
        contribution = await person.assess()
        if fault is not None:
            await sandbox.fault("bank", fault, count=1)
        await person.pay(contribution["id"])
        if fault == "decline":
            await person.until_status(contribution["id"], "assessed")
            await person.pay(contribution["id"])
        await person.until_status(contribution["id"], "paid", within_seconds=40)
    await _until_at_rest(stack)
    await eventually(lambda: _put_off_appointments(stack), within_seconds=40)
    return persons


async def test_replaying_every_event_changes_nothing_with_and_without_inbox(
    stack: Stack, sandbox: Sandbox, finished_sagas: list[Person]
) -> None:
    kafka = stack.plan().kafka_bootstrap_servers
    records = [
        record
        for topic in ("billing.contributions", "payment.orders")
        for record in read_all(kafka, topic)
        # Garbage that another test has sent is no event.
        if record.header("ce_id") is not None
    ]
    before = state_hashes(stack.databases, without=TOLD_FROM_OUTSIDE)
    book, messages = await sandbox.book(), await sandbox.messages()

    for inbox in ("kept", "emptied"):
        if inbox == "emptied":
            _empty_inboxes(stack)
        send(kafka, _one_to_five_times_each(records))
        await until_consumed(kafka, stack.databases)
        await _until_at_rest(stack)

        assert state_hashes(stack.databases, without=TOLD_FROM_OUTSIDE) == before, inbox
        assert await sandbox.book() == book, inbox
        assert len(await sandbox.messages()) == len(messages), inbox
        assert _open_dead_letters(stack) == {}, inbox


async def test_reset_positions_read_everything_again_and_change_nothing(
    stack: Stack, sandbox: Sandbox, finished_sagas: list[Person]
) -> None:
    before = state_hashes(stack.databases, without=TOLD_FROM_OUTSIDE)
    book, messages = await sandbox.book(), await sandbox.messages()

    told = [
        operate(stack, service, "positions", "reset", "--yes")
        for service in ("billing", "payment", "notifier")
    ]
    await until_consumed(stack.plan().kafka_bootstrap_servers, stack.databases)
    await _until_at_rest(stack)

    assert [line.split()[0] for line in told] == ["12", "12", "24"]
    assert state_hashes(stack.databases, without=TOLD_FROM_OUTSIDE) == before
    assert await sandbox.book() == book
    assert len(await sandbox.messages()) == len(messages)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ((), "this reads the whole log again: add --yes to do it"),
        (("--yes", "--topic", "payment.order"), "billing does not read payment.order"),
    ],
)
def test_positions_are_not_reset_by_accident(
    stack: Stack, more: tuple[str, ...], sentence: str
) -> None:
    done = stack.run("billing", "positions", "reset", *more)

    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def _one_to_five_times_each(records: list[Record]) -> list[Record]:
    chance = random.Random(SEED)
    copies = [record for record in records for _ in range(chance.randint(1, 5))]
    chance.shuffle(copies)
    return copies


def _empty_inboxes(stack: Stack) -> None:
    for url in stack.databases.values():
        with psycopg.connect(url) as connection:
            connection.execute("TRUNCATE inbox")


def _open_dead_letters(stack: Stack) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for service, url in stack.databases.items():
        with psycopg.connect(url) as connection:
            rows = connection.execute(
                "SELECT error FROM dead_letter WHERE resolved_at IS NULL"
            ).fetchall()
        if rows:
            found[service] = [row[0] for row in rows]
    return found


def _put_off_appointments(stack: Stack) -> bool:
    """Attempts of other tests wait to be asked about: in an hour is soon enough for them."""
    with psycopg.connect(stack.databases["payment"]) as connection:
        connection.execute(
            "UPDATE payment_attempt SET due_at = now() + interval '1 hour'"
            " WHERE due_at IS NOT NULL AND (lease_until IS NULL OR lease_until < now())"
        )
        asked = connection.execute(
            "SELECT count(*) FROM payment_attempt WHERE due_at < now() + interval '55 minutes'"
        ).fetchone()
    assert asked == (0,), f"{asked} attempts are asked about"
    return True


async def _until_at_rest(stack: Stack) -> None:
    """Everything sent, everything consumed, no notification under way."""

    def at_rest() -> bool:
        for service, url in stack.databases.items():
            with psycopg.connect(url) as connection:
                unsent = connection.execute(
                    "SELECT (SELECT count(*) FROM outbox_queue)"
                    " + (SELECT count(*) FROM outbox WHERE resend_at IS NOT NULL)"
                ).fetchone()
                assert unsent == (0,), f"{service} has {unsent} events to send"
        with psycopg.connect(stack.databases["notifier"]) as connection:
            moving = connection.execute(
                "SELECT count(*) FROM notification WHERE status IN ('QUEUED', 'SUBMITTED')"
            ).fetchone()
            assert moving == (0,), f"{moving} notifications are under way"
        return True

    await eventually(at_rest, within_seconds=60)
    await until_consumed(stack.plan().kafka_bootstrap_servers, stack.databases)
