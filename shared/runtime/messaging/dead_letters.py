"""Dead letters: what could not be applied is kept with its bytes, its place and the reason.

Hold-back has the scope (consumer, topic, key): later records of a blocked key are parked as
`held`, unclaimed, until `replay` releases the key in order in one transaction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

import msgspec
import structlog

from shared.kernel.errors import Contradiction, Refused
from shared.kernel.events import Event, Message
from shared.runtime.database.database import Database, is_transient
from shared.runtime.database.statements import Connection, RowMapping, text
from shared.runtime.database.unit_of_work import Item, Unit
from shared.runtime.messaging.consumer import Consumer, Place, Received, receive
from shared.runtime.messaging.inbox import claim

log = structlog.get_logger(__name__)

ERROR_CHARS_MAX = 2000

BLOCKED = text(
    """
    SELECT topic, key FROM blocked_key
    WHERE consumer = :consumer
      AND (topic, key) IN (SELECT * FROM unnest(CAST(:topics AS text[]), CAST(:keys AS bytea[])))
    ORDER BY topic, key
    FOR SHARE
    """
)
BLOCK = text(
    """
    INSERT INTO blocked_key (consumer, topic, key) VALUES (:consumer, :topic, :key)
    ON CONFLICT DO NOTHING
    """
)
COLUMNS = """consumer, topic, partition, "offset", key, event_id, event_type, headers, body,
    status, error_kind, error, try_count"""
VALUES = """:consumer, :topic, :partition, :offset, :key, :event_id, :event_type, :headers, :body,
    :status, :error_kind, :error, :try_count"""
# A letter that was replayed can fail once more only where the inbox has lost its claim.
PARK = text(
    f"""
    INSERT INTO dead_letter ({COLUMNS}) VALUES ({VALUES})
    ON CONFLICT (consumer, event_id) WHERE event_id IS NOT NULL DO UPDATE
        SET status = excluded.status, resolved_at = NULL, parked_at = now(),
            error_kind = excluded.error_kind, error = excluded.error,
            try_count = excluded.try_count, topic = excluded.topic,
            partition = excluded.partition, "offset" = excluded."offset"
        WHERE dead_letter.status = 'replayed'
    """
)
# Without an event id, a letter at the same place is the same record.
PARK_BY_PLACE = text(
    f"INSERT INTO dead_letter ({COLUMNS}) VALUES ({VALUES}) ON CONFLICT DO NOTHING"
)
KNOWN = text(
    """
    SELECT status FROM dead_letter
    WHERE consumer = :consumer AND event_id = CAST(:event_id AS uuid)
       OR consumer = :consumer AND event_id IS NULL
      AND topic = :topic AND partition = :partition AND "offset" = :offset
    """
)
LOCK_KEY = text(
    """
    SELECT key FROM blocked_key
    WHERE consumer = :consumer AND topic = :topic AND key = :key FOR UPDATE
    """
)
UNBLOCK = text(
    "DELETE FROM blocked_key WHERE consumer = :consumer AND topic = :topic AND key = :key"
)
OPEN_OF_KEY = text(
    """
    SELECT * FROM dead_letter
    WHERE consumer = :consumer AND topic = :topic AND key = :key AND resolved_at IS NULL
    ORDER BY partition, "offset"
    FOR UPDATE
    """
)
BY_ID = text("SELECT * FROM dead_letter WHERE consumer = :consumer AND id = :id FOR UPDATE")
RESOLVE = text(
    """
    UPDATE dead_letter SET status = :status, resolved_at = now(), error = error || :remark
    WHERE id = ANY(CAST(:ids AS bigint[]))
    """
)
CLOSE_ITEMS = text(
    """
    UPDATE operator_item SET closed_at = now()
    WHERE reference = ANY(CAST(:references AS text[])) AND closed_at IS NULL
      AND kind IN ('dead_letter', 'contradiction')
    """
)
LIST = text(
    """
    SELECT * FROM dead_letter
    WHERE consumer = :consumer AND (resolved_at IS NULL OR :resolved)
    ORDER BY id LIMIT :row_count
    """
)
OPEN_KEYS = text(
    """
    SELECT DISTINCT topic, key FROM dead_letter
    WHERE consumer = :consumer AND resolved_at IS NULL AND key IS NOT NULL AND :hold_back
    ORDER BY topic, key
    """
)
OPEN_ALONE = text(
    """
    SELECT id FROM dead_letter
    WHERE consumer = :consumer AND resolved_at IS NULL AND (key IS NULL OR NOT :hold_back)
    ORDER BY id
    """
)
COUNT = text(
    """
    SELECT status, count(*) AS letters FROM dead_letter
    WHERE consumer = :consumer AND resolved_at IS NULL GROUP BY status
    """
)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One parked record as a person reads it."""

    id: int
    status: str
    place: Place
    key: bytes | None
    event_id: UUID | None
    event_type: str | None
    headers: list[tuple[str, bytes]]
    body: bytes | None
    error_kind: str
    error: str
    try_count: int
    parked_at: datetime

    @property
    def reference(self) -> str:
        """The name under which its operator item is open."""
        return str(self.event_id or self.place)


async def blocked_keys(
    connection: Connection, consumer: str, keys: Iterable[tuple[str, bytes]]
) -> set[tuple[str, bytes]]:
    """Which of these (topic, key) are blocked; a replay of one of them waits for our commit."""
    wanted = list(keys)
    if not wanted:
        return set()
    rows = await connection.execute(
        BLOCKED,
        {
            "consumer": consumer,
            "topics": [topic for topic, _ in wanted],
            "keys": [key for _, key in wanted],
        },
    )
    return {(row.topic, bytes(row.key)) for row in rows}


async def park(
    unit: Unit, consumer: Consumer, record: Received, error: Exception, try_count: int
) -> None:
    """Keep a record that failed for good, block its key, and open an item for a person."""
    await _insert(unit, consumer, record, "poison", error, try_count)
    if consumer.hold_back and record.topic_key is not None:
        topic, key = record.topic_key
        await unit.connection.execute(
            BLOCK, {"consumer": consumer.name, "topic": topic, "key": key}
        )
    kind = "contradiction" if isinstance(error, Contradiction) else "dead_letter"
    reference = str(record.event_id or record.place)
    await unit.open_items([Item(kind, reference, f"{record.event_type}: {_words(error)}")])


async def park_held(unit: Unit, consumer: Consumer, records: Sequence[Received]) -> None:
    """Keep records that wait behind a dead letter of their key; they stay unclaimed."""
    for record in records:
        await _insert(unit, consumer, record, "held", _Held(), 0)


async def is_settled(unit: Unit, consumer: Consumer, record: Received) -> bool:
    """Whether a record that fails is a dead letter already, so that nothing is left to do.

    One that was replayed is not: it failed again because the inbox has lost its claim.
    """
    rows = await unit.connection.execute(
        KNOWN,
        {
            "consumer": consumer.name,
            "event_id": record.event_id,
            "topic": record.place.topic,
            "partition": record.place.partition,
            "offset": record.place.offset,
        },
    )
    return any(row.status != "replayed" for row in rows)


async def list_dead_letters(
    database: Database, consumer: Consumer, *, resolved: bool = False, row_count: int = 100
) -> list[DeadLetter]:
    """The open dead letters, oldest first; with `resolved` also those that were settled."""
    async with database.transaction() as unit:
        rows = await unit.connection.execute(
            LIST, {"consumer": consumer.name, "resolved": resolved, "row_count": row_count}
        )
        return [_letter(row) for row in rows.mappings()]


async def count_open(connection: Connection, consumer: str) -> dict[str, int]:
    """How many dead letters are open, by status."""
    rows = await connection.execute(COUNT, {"consumer": consumer})
    return {row.status: row.letters for row in rows}


async def show_dead_letter(database: Database, consumer: Consumer, letter_id: int) -> DeadLetter:
    """One dead letter. Raises Refused `dead_letter_unknown`."""
    async with database.transaction() as unit:
        return await _load(unit, consumer, letter_id)


async def replay_all(database: Database, consumer: Consumer) -> int:
    """Replay every blocked key and every letter that stands alone; returns how many were applied.

    What fails does not stop the others; the first error is raised in the end.
    """
    scope = {"consumer": consumer.name, "hold_back": consumer.hold_back}
    async with database.transaction() as unit:
        keys = (await unit.connection.execute(OPEN_KEYS, scope)).all()
        alone = (await unit.connection.execute(OPEN_ALONE, scope)).all()
    replays = [partial(replay_key, database, consumer, row.topic, bytes(row.key)) for row in keys]
    replays += [partial(replay_letter, database, consumer, row.id) for row in alone]
    applied, failures = 0, list[Exception]()
    for replay in replays:
        try:
            applied += await replay()
        except Exception as error:
            if is_transient(error):
                raise
            failures.append(error)
    if failures:
        log.warning("replays_failed", failed=len(failures), applied=applied)
        raise failures[0]
    return applied


async def replay_key(database: Database, consumer: Consumer, topic: str, key: bytes) -> int:
    """Apply the parked records of one key in their order, all or none, and release the key.

    Raises what the first failing reaction raised; then nothing has changed.
    """
    scope = {"consumer": consumer.name, "topic": topic, "key": key}
    async with database.transaction() as unit:
        await unit.connection.execute(LOCK_KEY, scope)
        rows = (await unit.connection.execute(OPEN_OF_KEY, scope)).mappings().all()
        letters = [_letter(row) for row in rows]
        for letter in letters:
            await _apply(unit, consumer, letter)
        await _resolve(unit, letters, "replayed", "")
        await unit.connection.execute(UNBLOCK, scope)
        return len(letters)


async def replay_letter(database: Database, consumer: Consumer, letter_id: int) -> int:
    """Replay the key of this letter, or the letter alone where nothing waits behind it.

    Raises Refused `dead_letter_unknown` or `dead_letter_resolved`, and what a reaction raises.
    """
    letter = await show_dead_letter(database, consumer, letter_id)
    _require_open(letter)
    if letter.key is not None and consumer.hold_back:
        return await replay_key(database, consumer, letter.place.topic, letter.key)
    async with database.transaction() as unit:
        letter = await _load(unit, consumer, letter_id)
        _require_open(letter)
        await _apply(unit, consumer, letter)
        await _resolve(unit, [letter], "replayed", "")
        return 1


async def discard(database: Database, consumer: Consumer, letter_id: int, *, reason: str) -> bool:
    """Give one letter up for good: its event is claimed, so that it never takes effect.

    Returns whether its key still waits for a replay; with nothing left, the key is released.
    Raises Refused `dead_letter_unknown` or `dead_letter_resolved`.
    """
    letter = await show_dead_letter(database, consumer, letter_id)
    scope = {"consumer": consumer.name, "topic": letter.place.topic, "key": letter.key}
    async with database.transaction() as unit:
        # The key before its letters, as replay does: in another order they could deadlock.
        await unit.connection.execute(LOCK_KEY, scope)
        letter = await _load(unit, consumer, letter_id)
        _require_open(letter)
        if letter.event_id is not None:
            await claim(unit.connection, consumer.name, [letter.event_id])
        await _resolve(unit, [letter], "discarded", f" | discarded: {_storable(reason)}")
        if letter.key is None or not consumer.hold_back:
            return False
        waiting = (await unit.connection.execute(OPEN_OF_KEY, scope)).all()
        if not waiting:
            await unit.connection.execute(UNBLOCK, scope)
        return bool(waiting)


def _require_open(letter: DeadLetter) -> None:
    if letter.status not in ("poison", "held"):
        raise Refused("dead_letter_resolved", f"dead letter {letter.id} is {letter.status}")


async def _apply(unit: Unit, consumer: Consumer, letter: DeadLetter) -> None:
    try:
        record = receive(letter.place, letter.key, letter.headers, letter.body)
        if record.malformed is not None:
            raise record.malformed
        assert record.message is not None
        event_id = record.message.envelope.event_id
        if await claim(unit.connection, consumer.name, [event_id]):
            await _react(unit, consumer, record.message)
            await unit.flush()
    except Exception as error:
        # Which one of its key it was is what a person needs to know.
        log.warning("replay_failed", dead_letter=letter.id, error=repr(error))
        raise


async def _react(unit: Unit, consumer: Consumer, message: Message[Event]) -> None:
    reaction = consumer.reactions.get(type(message.body))
    if reaction is None:
        raise Refused(
            "event_not_handled", f"{consumer.name} does not handle {message.body.type} any more"
        )
    await reaction(unit, [message])


async def _resolve(unit: Unit, letters: Sequence[DeadLetter], status: str, remark: str) -> None:
    if not letters:
        return
    ids = [letter.id for letter in letters]
    await unit.connection.execute(RESOLVE, {"ids": ids, "status": status, "remark": remark})
    references = [letter.reference for letter in letters]
    await unit.connection.execute(CLOSE_ITEMS, {"references": references})


async def _load(unit: Unit, consumer: Consumer, letter_id: int) -> DeadLetter:
    rows = await unit.connection.execute(BY_ID, {"consumer": consumer.name, "id": letter_id})
    row = rows.mappings().first()
    if row is None:
        raise Refused("dead_letter_unknown", f"{consumer.name} has no dead letter {letter_id}")
    return _letter(row)


async def _insert(
    unit: Unit,
    consumer: Consumer,
    record: Received,
    status: str,
    error: Exception,
    try_count: int,
) -> None:
    event_type = record.event_type
    await unit.connection.execute(
        PARK if record.event_id is not None else PARK_BY_PLACE,
        {
            "consumer": consumer.name,
            "topic": record.place.topic,
            "partition": record.place.partition,
            "offset": record.place.offset,
            "key": record.key,
            "event_id": record.event_id,
            "event_type": None if event_type is None else _storable(event_type)[:128],
            "headers": msgspec.msgpack.encode(list(record.headers)),
            "body": record.body,
            "status": status,
            "error_kind": type(error).__name__.strip("_"),
            "error": _words(error),
            "try_count": try_count,
        },
    )


def _letter(row: RowMapping) -> DeadLetter:
    return DeadLetter(
        id=row["id"],
        status=row["status"],
        place=Place(row["topic"], row["partition"], row["offset"]),
        key=None if row["key"] is None else bytes(row["key"]),
        event_id=row["event_id"],
        event_type=row["event_type"],
        headers=msgspec.msgpack.decode(bytes(row["headers"]), type=list[tuple[str, bytes]]),
        body=None if row["body"] is None else bytes(row["body"]),
        error_kind=row["error_kind"],
        error=row["error"],
        try_count=row["try_count"],
        parked_at=row["parked_at"],
    )


def _words(error: Exception) -> str:
    return _storable(str(error))[:ERROR_CHARS_MAX]


def _storable(value: str) -> str:
    """PostgreSQL's text knows no NUL, and no half of a surrogate pair."""
    return value.replace("\x00", "�").encode(errors="replace").decode()


class _Held(Exception):
    def __str__(self) -> str:
        return "waits behind a dead letter of its key"
