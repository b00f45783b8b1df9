"""A little service for tests: aggregates with versions, an outbox, and rows that show effects."""

import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import psycopg
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from shared.kernel.events import Event, Message, MoneyAccepted, encode_body, encode_headers
from shared.runtime.database.database import Database
from shared.runtime.database.statements import text
from shared.runtime.database.unit_of_work import Unit
from shared.runtime.messaging.tables import create_messaging_tables, queue_unsent
from testing.builders import envelope, money_accepted
from testing.databases import plain

TABLES = """
CREATE TABLE aggregate (id uuid PRIMARY KEY, version integer NOT NULL);
CREATE TABLE effect (event_id uuid NOT NULL, person uuid NOT NULL, place bigint NOT NULL
                     GENERATED ALWAYS AS IDENTITY)
"""
READ_SECONDS = 20.0


class _Statements:
    def __init__(self) -> None:
        self.all: list[str] = []

    def execute(self, statement: str) -> None:
        self.all.append(statement)


def create_tables(url: str) -> None:
    """The messaging tables and those of this little service, in an empty database."""
    statements = _Statements()
    create_messaging_tables(statements)
    queue_unsent(statements)
    with psycopg.connect(plain(url)) as connection:
        for statement in [*statements.all, *TABLES.split(";")]:
            connection.execute(statement.encode())


def outbox_row(topic: str, aggregate: UUID, version: int) -> dict[str, Any]:
    """What the relay will send for that version of the aggregate."""
    body = money_accepted(insured_person_id=aggregate, attempt_id=aggregate)
    about = envelope(body, subject=aggregate, sequence=version)
    headers = [(name, value.decode()) for name, value in encode_headers(about)]
    return {
        "event_id": about.event_id,
        "topic": topic,
        "key": str(aggregate),
        "headers": json.dumps(headers),
        "body": encode_body(body),
    }


INSERT = """
INSERT INTO outbox (event_id, topic, key, headers, body)
VALUES (%(event_id)s, %(topic)s, %(key)s, %(headers)s, %(body)s)
"""


def move_on(connection: psycopg.Connection[Any], topic: str, aggregate: UUID) -> None:
    """One more version of the aggregate, and its event behind the guarded update."""
    row = connection.execute(
        "UPDATE aggregate SET version = version + 1 WHERE id = %s RETURNING version", (aggregate,)
    ).fetchone()
    assert row is not None
    connection.execute(INSERT, outbox_row(topic, aggregate, row[0]))


def read_sequences(kafka: str, topic: str) -> dict[str, list[int]]:
    """Aggregate → the sequences of its records, in log order."""
    found: dict[str, list[int]] = defaultdict(list)
    for key, headers in read_records(kafka, topic):
        found[key].append(int(headers["sequence"]))
    return found


def read_records(kafka: str, topic: str) -> list[tuple[str, dict[str, str]]]:
    """Key and headers of every record, partition by partition."""
    records = []
    for message in _read(kafka, topic):
        pairs: Any = message.headers()
        records.append((_key(message), {name: value.decode() for name, value in pairs}))
    return records


def read_partitions(kafka: str, topic: str) -> dict[str, set[int | None]]:
    """Key → the partitions in which its records are."""
    found: dict[str, set[int | None]] = defaultdict(set)
    for message in _read(kafka, topic):
        found[_key(message)].add(message.partition())
    return dict(found)


def _read(kafka: str, topic: str) -> list[KafkaMessage]:
    client = Consumer(
        {"bootstrap.servers": kafka, "group.id": str(uuid.uuid4()), "enable.auto.commit": False}
    )
    try:
        partitions = client.list_topics(topic, timeout=READ_SECONDS).topics[topic].partitions
        ends = {
            number: client.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]
            for number in partitions
        }
        client.assign([TopicPartition(topic, number, 0) for number in ends])
        messages = []
        for _ in range(sum(ends.values())):
            message = client.poll(READ_SECONDS)
            assert message is not None
            assert message.error() is None
            messages.append(message)
        return messages
    finally:
        client.close()


def _key(message: KafkaMessage) -> str:
    key = message.key()
    assert isinstance(key, bytes)
    return key.decode()


def first_occurrences(sequences: Sequence[int]) -> list[int]:
    return list(dict.fromkeys(sequences))


def poisoned(person: UUID) -> Exception:
    return RuntimeError(f"poison for {person}")


class Effects:
    """A reaction that leaves one row per event, and fails for whom a test chooses."""

    def __init__(self) -> None:
        self.poison: set[UUID] = set()
        self.error: Callable[[UUID], Exception] = poisoned
        self.once: set[UUID] = set()
        self.everything_fails = False
        self.calls: list[list[UUID]] = []

    async def __call__(self, unit: Unit, messages: Sequence[Message[Any]]) -> None:
        persons = [message.body.insured_person_id for message in messages]
        self.calls.append(persons)
        if self.everything_fails:
            raise RuntimeError("a bad release")
        for person in persons:
            if person in self.poison:
                raise self.error(person)
            if person in self.once:
                self.once.discard(person)
                raise RuntimeError("fails once")
        await unit.connection.execute(
            text(
                "INSERT INTO effect (event_id, person) SELECT * FROM"
                " unnest(CAST(:event_ids AS uuid[]), CAST(:persons AS uuid[]))"
            ),
            {"event_ids": [m.envelope.event_id for m in messages], "persons": persons},
        )


REACTS_TO: type[Event] = MoneyAccepted


async def rows(database: Database, query: str) -> list[Any]:
    async with database.transaction() as unit:
        return list((await unit.connection.execute(text(query))).all())
