"""Every committed row reaches its topic, in the order of its aggregate, whoever is killed."""

import asyncio
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.partitioner import murmur2 as of_the_client

from shared.runtime.database.database import Database, open_database
from shared.runtime.database.statements import text
from shared.runtime.ground.backoff import Backoff
from shared.runtime.messaging import sender
from shared.runtime.messaging.lease import Lease
from shared.runtime.messaging.outbox import Range, mark_sent, read_resend, read_unsent, resend
from shared.runtime.messaging.relay import Relay
from shared.tests.messaging.ledger import (
    INSERT,
    first_occurrences,
    move_on,
    outbox_row,
    read_partitions,
    read_records,
    read_sequences,
    rows,
)
from testing.builders import money_accepted
from testing.databases import plain
from testing.eventually import eventually
from testing.long_form import form
from testing.servers import Infrastructure

ROOT = Path(__file__).parents[3]
UNSENT = "SELECT count(*) FROM outbox_queue"


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    task = asyncio.create_task(relay.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await asyncio.wait_for(task, 5)


async def until_sent(database: Database, *, within_seconds: float = 20.0) -> None:
    async def all_sent() -> bool:
        return bool((await rows(database, UNSENT))[0][0] == 0)

    await eventually(all_sent, within_seconds)


def write(url: str, topic: str, aggregate: UUID, versions: range) -> None:
    with psycopg.connect(plain(url)) as connection:
        for version in versions:
            connection.execute(INSERT, outbox_row(topic, aggregate, version))


class TestTwoRelaysThatAreKilledInTurn:
    """Thousands of rows, several writers per aggregate, one transaction that stays open long."""

    WRITERS = 6
    ROWS_EACH = form(short=350, long=1700)
    AGGREGATES = 24
    LEASE_SECONDS = 1.0

    async def test_every_row_appears_and_first_occurrences_ascend(
        self,
        ledger_url: str,
        database: Database,
        infrastructure: Infrastructure,
        kafka_topics: Callable[..., str],
    ) -> None:
        topic = kafka_topics(partitions=6)
        aggregates = self._aggregates(ledger_url)
        writers = [
            threading.Thread(target=self._write, args=(ledger_url, topic, aggregates, number))
            for number in range(self.WRITERS)
        ]
        long_writer = threading.Thread(
            target=self._write_slowly, args=(ledger_url, topic, aggregates[0])
        )
        relays = [self._start(ledger_url, infrastructure.kafka) for _ in range(2)]
        for writer in [*writers, long_writer]:
            writer.start()
        kills = 0
        while kills < 4 or any(writer.is_alive() for writer in writers):
            await asyncio.sleep(0.7)
            relays[kills % 2].kill()
            relays[kills % 2].wait()
            relays[kills % 2] = self._start(ledger_url, infrastructure.kafka)
            kills += 1
        for writer in [*writers, long_writer]:
            await asyncio.to_thread(writer.join)
        await until_sent(database, within_seconds=40)
        for relay in relays:
            relay.terminate()
            assert relay.wait(10) == 0

        stored = await rows(database, "SELECT id, version FROM aggregate")
        sequences = read_sequences(infrastructure.kafka, topic)
        assert sum(row.version for row in stored) >= self.WRITERS * self.ROWS_EACH
        for row in stored:
            found = first_occurrences(sequences[str(row.id)])
            assert found == list(range(1, row.version + 1)), f"{row.id}: order or loss"

    def _aggregates(self, url: str) -> list[UUID]:
        aggregates = [uuid.uuid4() for _ in range(self.AGGREGATES)]
        with psycopg.connect(plain(url)) as connection:
            for aggregate in aggregates:
                connection.execute("INSERT INTO aggregate VALUES (%s, 0)", (aggregate,))
        return aggregates

    def _write(self, url: str, topic: str, aggregates: list[UUID], number: int) -> None:
        # The first aggregate belongs to the long transaction, which would hold up everybody.
        others = aggregates[1:]
        with psycopg.connect(plain(url), autocommit=True) as connection:
            for step in range(self.ROWS_EACH):
                with connection.transaction():
                    move_on(connection, topic, others[(step + number) % len(others)])

    def _write_slowly(self, url: str, topic: str, aggregate: UUID) -> None:
        """Its rows have small numbers and commit when thousands of larger ones are sent."""
        with psycopg.connect(plain(url)) as connection:
            for _ in range(5):
                move_on(connection, topic, aggregate)
                time.sleep(0.5)

    def _start(self, url: str, kafka: str) -> subprocess.Popen[str]:
        relay = subprocess.Popen(
            [
                sys.executable, "-m", "shared.tests.messaging.relay_process",
                url, kafka, str(self.LEASE_SECONDS),
            ],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert relay.stdout is not None
        assert relay.stdout.readline() == "started\n"
        relay.stdout.close()
        return relay


async def test_a_transaction_that_commits_late_is_not_passed_over(
    ledger_url: str,
    database: Database,
    infrastructure: Infrastructure,
    kafka_topics: Callable[..., str],
) -> None:
    topic = kafka_topics()
    late, early = uuid.uuid4(), uuid.uuid4()
    with psycopg.connect(plain(ledger_url)) as open_one:
        open_one.execute(INSERT, outbox_row(topic, late, 1))
        write(ledger_url, topic, early, range(1, 2))
        async with running(Relay(database, bootstrap_servers=infrastructure.kafka)):
            await until_sent(database)

            open_one.commit()
            await until_sent(database)

    assert read_sequences(infrastructure.kafka, topic) == {str(early): [1], str(late): [1]}


async def test_all_records_of_a_key_are_where_any_client_looks_for_it(
    ledger_url: str,
    database: Database,
    infrastructure: Infrastructure,
    kafka_topics: Callable[..., str],
) -> None:
    topic = kafka_topics(partitions=12)
    aggregates = [uuid.uuid4() for _ in range(8)]
    for aggregate in aggregates:
        write(ledger_url, topic, aggregate, range(1, 4))

    async with running(Relay(database, bootstrap_servers=infrastructure.kafka)):
        await until_sent(database)

    found = read_partitions(infrastructure.kafka, topic)
    assert found == {
        str(each): {(of_the_client(str(each).encode()) & 0x7FFFFFFF) % 12} for each in aggregates
    }


async def test_rows_that_do_not_fit_into_a_batch_are_sent_in_the_next(
    ledger_url: str,
    database: Database,
    infrastructure: Infrastructure,
    kafka_topics: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sender, "BATCH_BYTES_MAX", 4096)
    topic, aggregate = kafka_topics(), uuid.uuid4()
    write(ledger_url, topic, aggregate, range(1, 201))

    async with running(Relay(database, bootstrap_servers=infrastructure.kafka)):
        await until_sent(database)

    assert read_sequences(infrastructure.kafka, topic)[str(aggregate)] == list(range(1, 201))


async def test_what_is_told_again_keeps_its_id_and_waits_for_what_is_new(
    ledger_url: str,
    database: Database,
    infrastructure: Infrastructure,
    kafka_topics: Callable[..., str],
) -> None:
    topic, aggregate = kafka_topics(), uuid.uuid4()
    write(ledger_url, topic, aggregate, range(1, 4))
    async with running(Relay(database, bootstrap_servers=infrastructure.kafka)):
        await until_sent(database)
    assert await resend(database, Range(first_id=1)) == 3
    write(ledger_url, topic, aggregate, range(4, 7))

    async with running(Relay(database, bootstrap_servers=infrastructure.kafka)):
        await until_sent(database)
        wanted = "SELECT count(*) FROM outbox WHERE resend_at IS NOT NULL"

        async def all_told_again() -> bool:
            return bool((await rows(database, wanted))[0][0] == 0)

        await eventually(all_told_again)

    records = read_records(infrastructure.kafka, topic)
    assert [headers["sequence"] for _, headers in records] == list("123456123")
    assert len({headers["ce_id"] for _, headers in records}) == 6


async def test_a_wish_to_send_again_that_comes_during_the_sending_is_kept(
    ledger_url: str, database: Database
) -> None:
    write(ledger_url, "some.topic", uuid.uuid4(), range(1, 3))
    async with database.transaction() as unit:
        await unit.connection.execute(text("DELETE FROM outbox_queue"))
    await resend(database, Range(first_id=1))
    async with database.transaction() as unit:
        being_sent = await read_resend(unit.connection, 10)

    await resend(database, Range(first_id=1, last_id=1))
    async with database.transaction() as unit:
        await mark_sent(unit.connection, being_sent, again=True)

    left = await rows(database, "SELECT id FROM outbox WHERE resend_at IS NOT NULL")
    assert [row.id for row in left] == [1]


async def test_what_was_never_sent_is_not_told_again_before_that(
    ledger_url: str, database: Database
) -> None:
    write(ledger_url, "some.topic", uuid.uuid4(), range(1, 3))
    async with database.transaction() as unit:
        await unit.connection.execute(text("DELETE FROM outbox_queue WHERE id = 1"))
        await unit.connection.execute(text("UPDATE outbox SET resend_at = now()"))

    async with database.transaction() as unit:
        assert [row.id for row in await read_resend(unit.connection, 10)] == [1]
        assert [row.id for row in await read_unsent(unit.connection, 10)] == [2]


async def test_an_event_is_stored_and_queued_at_once_and_stored_only_once(
    database: Database,
) -> None:
    body = money_accepted()
    async with database.transaction() as unit:
        for sequence in (1, 2, 3):
            unit.emit(body, subject=body.attempt_id, sequence=sequence, correlation_id=uuid.uuid4())

    async with database.transaction() as unit:
        queued = await read_unsent(unit.connection, 10)
        assert [dict(row.headers)["sequence"] for row in queued] == [b"1", b"2", b"3"]
        await mark_sent(unit.connection, queued, again=False)

    stored = await rows(database, "SELECT id, xmax::text AS written_again FROM outbox ORDER BY id")
    assert [(row.id, row.written_again) for row in stored] == [(1, "0"), (2, "0"), (3, "0")]
    assert (await rows(database, UNSENT))[0][0] == 0


class TestBesideProcessesOfTheRevisionBefore:
    """They write without the queue and look for `sent_at IS NULL`, under a lease of their own."""

    TAKE_THEN = """
        INSERT INTO relay_lease AS held (owner, until)
        VALUES (:owner, clock_timestamp() + interval '10 s')
        ON CONFLICT (one) DO UPDATE
            SET owner = :owner, until = clock_timestamp() + interval '10 s'
        WHERE held.owner = :owner OR held.until < clock_timestamp()
        RETURNING owner
    """

    async def test_what_they_write_is_queued_in_its_place(
        self, ledger_url: str, database: Database
    ) -> None:
        body = money_accepted()
        write(ledger_url, "some.topic", body.attempt_id, range(1, 2))
        async with database.transaction() as unit:
            unit.emit(body, subject=body.attempt_id, sequence=2, correlation_id=uuid.uuid4())
        write(ledger_url, "some.topic", body.attempt_id, range(3, 4))

        async with database.transaction() as unit:
            queued = await read_unsent(unit.connection, 10)

        assert [dict(row.headers)["sequence"] for row in queued] == [b"1", b"2", b"3"]
        then = await rows(database, "SELECT count(*) FROM outbox WHERE sent_at IS NULL")
        assert then[0][0] == 0, "their relay would send it, too, and out of order"

    async def test_their_relays_never_get_a_lease(self, database: Database) -> None:
        async with database.transaction() as unit:
            taken = await unit.connection.execute(text(self.TAKE_THEN), {"owner": uuid.uuid4()})
            assert taken.first() is None


async def test_a_broker_that_is_gone_marks_nothing_and_stops_in_time(
    ledger_url: str, database: Database
) -> None:
    write(ledger_url, "some.topic", uuid.uuid4(), range(1, 3))

    began = time.monotonic()
    async with running(Relay(database, bootstrap_servers="127.0.0.1:9")):
        await asyncio.sleep(0.5)

    assert time.monotonic() - began < 4
    assert (await rows(database, UNSENT))[0][0] == 2


@pytest.mark.parametrize("ends_with", ["a stop", "an error"])
async def test_what_the_broker_acknowledged_is_marked_and_sent_once_although_no_reading_follows(
    ledger_url: str,
    database: Database,
    infrastructure: Infrastructure,
    kafka_topics: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    ends_with: str,
) -> None:
    topic = kafka_topics()
    write(ledger_url, topic, uuid.uuid4(), range(1, 50))
    relay, stopping = Relay(database, bootstrap_servers=infrastructure.kafka), asyncio.Event()
    # After an error nothing is read for as long as this test lasts.
    monkeypatch.setattr(relay, "_backoff", Backoff(first_seconds=60, cap_seconds=60))
    send = relay._sender.send

    async def send_and_end(*args: Any, **more: Any) -> Any:
        acknowledged, error = await send(*args, **more)
        if ends_with == "a stop":
            stopping.set()
            return acknowledged, error
        return acknowledged, KafkaConnectionError("the connection broke after that")

    monkeypatch.setattr(relay._sender, "send", send_and_end)
    running = asyncio.create_task(relay.run(stopping))
    await until_sent(database)
    stopping.set()
    await asyncio.wait_for(running, 5)

    assert len(read_records(infrastructure.kafka, topic)) == 49


async def test_a_commit_in_this_process_wakes_the_relay(
    ledger_url: str,
    database: Database,
    infrastructure: Infrastructure,
) -> None:
    relay = Relay(database, bootstrap_servers=infrastructure.kafka)
    woken = []
    database.on_outbox_commit(lambda: woken.append(True))

    async with database.transaction() as unit:
        await unit.connection.execute(text("SELECT 1"))
    async with database.transaction() as unit:
        unit.has_sendable = True

    assert woken == [True]
    relay.wake()


class TestLease:
    """At most one relay is active, on the database's time."""

    async def _take(self, database: Database, lease: Lease) -> bool:
        async with database.transaction() as unit:
            return await lease.take(unit.connection)

    async def test_only_one_holds_it_until_it_is_released(self, database: Database) -> None:
        first, second = Lease(uuid.uuid4()), Lease(uuid.uuid4())

        assert await self._take(database, first)
        assert not await self._take(database, second)
        assert second.seconds_to_send == 0
        async with database.transaction() as unit:
            await first.release(unit.connection)

        assert await self._take(database, second)
        assert not await self._take(database, first)

    async def test_it_runs_out_and_is_taken_over(self, database: Database) -> None:
        dead = Lease(uuid.uuid4(), duration=timedelta(seconds=0.3))
        heir = Lease(uuid.uuid4())
        assert await self._take(database, dead)

        async def taken() -> bool:
            return await self._take(database, heir)

        await eventually(taken, 5)

    async def test_sending_stops_at_half_life(self, database: Database) -> None:
        lease = Lease(uuid.uuid4(), duration=timedelta(seconds=0.6))
        assert await self._take(database, lease)

        assert 0 < lease.seconds_to_send <= 0.3
        await eventually(lambda: lease.seconds_to_send == 0, 2)
        standby = Lease(uuid.uuid4())
        assert not await self._take(database, standby), "the other half is the margin"


async def test_a_pool_of_one_connection_is_enough(
    ledger_url: str, infrastructure: Infrastructure, kafka_topics: Callable[..., str]
) -> None:
    topic = kafka_topics()
    write(ledger_url, topic, uuid.uuid4(), range(1, 50))
    alone = open_database(ledger_url, source="ledger", pool_size=1)

    async with running(Relay(alone, bootstrap_servers=infrastructure.kafka)):
        await until_sent(alone)

    await alone.close()
