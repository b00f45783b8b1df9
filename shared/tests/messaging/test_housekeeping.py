"""What is old goes, in small steps; what still waits stays."""

import asyncio
import time
import uuid
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from asyncpg import LockNotAvailableError

from shared.runtime.database.database import Database, open_database
from shared.runtime.database.statements import text
from shared.runtime.database.unit_of_work import Item
from shared.runtime.ground.metrics import REGISTRY
from shared.runtime.messaging import housekeeping
from shared.runtime.messaging.housekeeping import Housekeeping
from shared.tests.messaging.ledger import INSERT, outbox_row, rows
from testing.clock import FixedClock
from testing.databases import plain, waits_for_lock
from testing.eventually import eventually

PARTITIONS = (
    "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
    " WHERE inhparent = CAST('outbox' AS regclass) ORDER BY relname"
)


def at_noon() -> FixedClock:
    return FixedClock(datetime.now(UTC).replace(hour=12))


async def partitions(database: Database) -> list[str]:
    return [row.relname for row in await rows(database, PARTITIONS)]


def write(url: str, *, at: datetime, sent: bool, wanted_again: bool = False) -> None:
    with psycopg.connect(plain(url)) as connection:
        connection.execute(INSERT, outbox_row("some.topic", uuid.uuid4(), 1))
        last = "WHERE id = (SELECT max(id) FROM outbox)"
        connection.execute(
            f"UPDATE outbox SET created_at = %s, resend_at = %s {last}",
            (at, at if wanted_again else None),
        )
        connection.execute(f"UPDATE outbox_queue SET created_at = %s {last}", (at,))
        if sent:
            connection.execute(f"DELETE FROM outbox_queue {last}")


async def test_partitions_of_the_coming_days_are_made_and_rows_find_them(
    database: Database, ledger_url: str
) -> None:
    clock = at_noon()

    await Housekeeping(database, clock).step()
    await Housekeeping(database, clock).step()

    made = await partitions(database)
    assert len(made) == 1 + 1 + housekeeping.PARTITIONS_AHEAD
    write(ledger_url, at=clock.now(), sent=False)
    found = await rows(database, "SELECT CAST(tableoid AS regclass) AS name FROM outbox")
    assert str(found[0].name) == f"outbox_{clock.now():%Y%m%d}"


async def test_open_items_are_counted_by_kind(database: Database) -> None:
    async with database.transaction() as unit:
        await unit.open_items([Item("refund_due", "1", "some"), Item("refund_due", "2", "some")])

    await housekeeping.Gauges(database).step()

    labels = {"kind": "refund_due"}
    assert REGISTRY.get_sample_value("songhe_operator_items_open", labels) == 2


@pytest.mark.parametrize(
    ("sent", "wanted_again", "stays"),
    [(True, False, False), (False, False, True), (True, True, True)],
    ids=["all sent", "not sent", "wanted again"],
)
async def test_an_old_partition_is_dropped_only_when_nothing_in_it_waits(
    database: Database, ledger_url: str, sent: bool, wanted_again: bool, stays: bool
) -> None:
    clock = at_noon()
    await Housekeeping(database, clock).step()
    name = f"outbox_{clock.now():%Y%m%d}"
    write(ledger_url, at=clock.now(), sent=sent, wanted_again=wanted_again)

    clock.advance(timedelta(days=14))
    await Housekeeping(database, clock).step()
    on_the_last_day = await partitions(database)
    clock.advance(timedelta(days=1))
    await Housekeeping(database, clock).step()

    assert name in on_the_last_day
    assert (name in await partitions(database)) == stays


async def test_rows_that_came_before_their_partition_stay_where_they_are(
    database: Database, ledger_url: str
) -> None:
    clock = at_noon()
    write(ledger_url, at=clock.now(), sent=True)

    await Housekeeping(database, clock).step()

    assert f"outbox_{clock.now():%Y%m%d}" not in await partitions(database)
    assert len(await rows(database, "SELECT id FROM outbox")) == 1


async def test_old_rows_without_a_partition_are_deleted_unless_they_wait(
    database: Database, ledger_url: str
) -> None:
    clock = at_noon()
    long_ago = clock.now() - timedelta(days=20)
    write(ledger_url, at=long_ago, sent=True)
    write(ledger_url, at=long_ago, sent=False)
    write(ledger_url, at=long_ago, sent=True, wanted_again=True)
    write(ledger_url, at=clock.now() - timedelta(days=13), sent=True)

    await Housekeeping(database, clock).step()

    left = await rows(database, "SELECT id FROM outbox_rest ORDER BY id")
    assert [row.id for row in left] == [2, 3, 4]


async def test_processes_that_change_partitions_at_the_same_time_do_not_hinder_each_other(
    ledger_url: str,
) -> None:
    clock = at_noon()
    async with AsyncExitStack() as stack:
        databases = [
            open_database(ledger_url, source=f"ledger-{number}", pool_size=1) for number in range(4)
        ]
        for database in databases:
            stack.push_async_callback(database.close)
        for _ in range(10):
            await asyncio.gather(*(Housekeeping(it, clock).step() for it in databases))
            clock.advance(timedelta(days=housekeeping.PARTITIONS_AHEAD + 1))

        names = await partitions(databases[0])
    days_kept = housekeeping.OUTBOX_RETENTION.days + 1 + housekeeping.PARTITIONS_AHEAD
    assert len(names) == 1 + days_kept


async def test_a_partition_is_not_dropped_in_the_way_of_others(
    database: Database, ledger_url: str
) -> None:
    clock = at_noon()
    await Housekeeping(database, clock).step()
    before = await partitions(database)
    clock.advance(timedelta(days=15))
    with psycopg.connect(plain(ledger_url)) as busy:
        busy.execute("SELECT count(*) FROM outbox")

        began = time.monotonic()
        with pytest.raises(LockNotAvailableError, match="lock timeout"):
            await Housekeeping(database, clock).step()

        assert time.monotonic() - began < 2
    await Housekeeping(database, clock).step()
    assert before[0] not in await partitions(database)


async def test_a_wish_that_comes_while_a_partition_is_dropped_is_not_lost(
    database: Database, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "LOCK_OUTBOX", text("SET LOCAL lock_timeout = '10s'"))
    clock = at_noon()
    await Housekeeping(database, clock).step()
    name = f"outbox_{clock.now():%Y%m%d}"
    write(ledger_url, at=clock.now(), sent=True)
    clock.advance(timedelta(days=15))
    with psycopg.connect(plain(ledger_url)) as wishing:
        wishing.execute("UPDATE outbox SET resend_at = now()")
        cleaning = asyncio.create_task(Housekeeping(database, clock).step())
        await eventually(lambda: waits_for_lock(ledger_url))
        wishing.commit()

    await cleaning
    assert name in await partitions(database)


async def test_old_claims_and_answers_are_deleted_in_batches(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "DELETE_ROWS_MAX", 10)
    async with database.transaction() as unit:
        for age, count in (("29 days", 5), ("31 days", 35)):
            await unit.connection.execute(
                text(
                    "INSERT INTO inbox SELECT 'somebody', gen_random_uuid(),"
                    f" now() - interval '{age}' FROM generate_series(1, {count})"
                )
            )
        for age, count in (("47 hours", 4), ("49 hours", 25)):
            await unit.connection.execute(
                text(
                    "INSERT INTO idempotency_key SELECT 's', 'o', CAST(gen_random_uuid() AS text),"
                    " ''::bytea, 200, '[]', ''::bytea,"
                    f" now() - interval '{age}' FROM generate_series(1, {count})"
                )
            )

    housekeeper = Housekeeping(database, at_noon())
    assert await housekeeper.step() == 2, "both tables have more than one batch"
    assert len(await rows(database, "SELECT event_id FROM inbox")) == 30
    for _ in range(3):
        await housekeeper.step()

    assert await housekeeper.step() == 0
    assert len(await rows(database, "SELECT event_id FROM inbox")) == 5
    assert len(await rows(database, "SELECT key FROM idempotency_key")) == 4
