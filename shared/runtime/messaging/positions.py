"""Consumer positions live in the database and move in the transaction of the effect.

Guarded by their old value they fence a zombie and heal lost or skipped Kafka offsets: Kafka's
committed offset is never read, only written afterwards for lag tools.
"""

from collections.abc import Iterable, Mapping, Sequence

from shared.kernel.errors import SongheError
from shared.runtime.database.statements import Connection, text

Partition = tuple[str, int]

# No stored row means the beginning of the log.
ADD_MISSING = text(
    """
    INSERT INTO position (consumer, topic, partition, next_offset)
    SELECT :consumer, topic, partition, next_offset
    FROM unnest(CAST(:topics AS text[]), CAST(:partitions AS integer[]),
                CAST(:offsets AS bigint[])) AS beginning (topic, partition, next_offset)
    ORDER BY topic, partition
    ON CONFLICT DO NOTHING
    """
)
READ = text(
    """
    SELECT position.topic, position.partition, position.next_offset
    FROM position
    JOIN unnest(CAST(:topics AS text[]), CAST(:partitions AS integer[]))
         AS wanted (topic, partition) USING (topic, partition)
    WHERE position.consumer = :consumer
    """
)
# All partitions of the batch in one statement, locked in partition order.
MOVE = text(
    """
    WITH wanted AS (
        SELECT * FROM unnest(CAST(:topics AS text[]), CAST(:partitions AS integer[]),
                             CAST(:expected AS bigint[]), CAST(:next AS bigint[]))
                      AS row (topic, partition, expected, next_offset)
    ), locked AS (
        SELECT position.topic, position.partition, wanted.next_offset
        FROM position JOIN wanted USING (topic, partition)
        WHERE position.consumer = :consumer AND position.next_offset = wanted.expected
        ORDER BY position.topic, position.partition
        FOR UPDATE OF position
    )
    UPDATE position SET next_offset = locked.next_offset, updated_at = now()
    FROM locked
    WHERE position.consumer = :consumer
      AND position.topic = locked.topic AND position.partition = locked.partition
    """
)


# Under the lock of every row: a member that is at work is fenced, not overtaken.
RESET = text(
    """
    DELETE FROM position
    WHERE consumer = :consumer AND (CAST(:topic AS text) IS NULL OR topic = :topic)
    """
)


class Fenced(SongheError):
    """A position was not where we left it: another member moved it, or our COMMIT had arrived."""


async def read_positions(
    connection: Connection, consumer: str, partitions: Iterable[Partition]
) -> dict[Partition, int]:
    """The stored positions of these partitions; those without a row are left out."""
    topics, numbers = _columns(partitions)
    rows = await connection.execute(
        READ, {"consumer": consumer, "topics": topics, "partitions": numbers}
    )
    return {(row.topic, row.partition): row.next_offset for row in rows}


async def begin_positions(
    connection: Connection, consumer: str, beginnings: Mapping[Partition, int]
) -> dict[Partition, int]:
    """Store the log's beginnings where no row is; returns what is stored then."""
    topics, numbers = _columns(beginnings)
    await connection.execute(
        ADD_MISSING,
        {
            "consumer": consumer,
            "topics": topics,
            "partitions": numbers,
            "offsets": list(beginnings.values()),
        },
    )
    return await read_positions(connection, consumer, beginnings)


async def move_positions(
    connection: Connection, consumer: str, moves: Mapping[Partition, tuple[int, int]]
) -> None:
    """Move each partition from its expected to its next offset; raises Fenced if one is elsewhere.

    Where both are the same, the position is only guarded.

    A fenced caller rolls back, drops its batch, reads the positions and seeks; it never retries,
    bisects or dead-letters the batch.
    """
    if not moves:
        return
    topics, partitions = _columns(moves)
    result = await connection.execute(
        MOVE,
        {
            "consumer": consumer,
            "topics": topics,
            "partitions": partitions,
            "expected": [expected for expected, _ in moves.values()],
            "next": [next_offset for _, next_offset in moves.values()],
        },
    )
    if result.rowcount != len(moves):
        raise Fenced(f"{consumer} moved {result.rowcount} of {len(moves)} positions")


async def reset_positions(connection: Connection, consumer: str, topic: str | None) -> int:
    """Forget where the consumer stood, so that it reads the log again from its beginning.

    Returns how many partitions that are. A running member is fenced and begins anew; the inbox
    knows every event that was applied, so the replay changes nothing.
    """
    result = await connection.execute(RESET, {"consumer": consumer, "topic": topic})
    return result.rowcount


def _columns(partitions: Iterable[Partition]) -> tuple[Sequence[str], Sequence[int]]:
    pairs = list(partitions)
    return [topic for topic, _ in pairs], [number for _, number in pairs]
