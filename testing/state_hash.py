"""One hash over what a service knows about its business, to prove that a replay changes nothing."""

import hashlib
from collections.abc import Collection, Mapping

import psycopg
from psycopg import sql

# How messages travelled is not business: replays may touch these tables.
MESSAGING_TABLES = frozenset(
    {
        "alembic_version",
        "blocked_key",
        "dead_letter",
        "idempotency_key",
        "inbox",
        "outbox",
        "outbox_queue",
        "position",
        "relay_lease",
        "relay_turn",
    }
)
# When somebody is asked again is the clock's business: it moves while nothing is replayed.
APPOINTMENTS = ["due_at", "lease_owner", "lease_until", "query_count"]
TABLES = """
SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = 'public' AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY relname
"""


def state_hash(database_url: str, *, without: Collection[str] = ()) -> dict[str, str]:
    """Table → hash over all its rows, in any order, of one service's database.

    Appointments of a loop (`due_at` and its lease) do not count, nor do the tables in `without`.
    """
    left_out = MESSAGING_TABLES.union(without)
    with psycopg.connect(database_url) as connection:
        names = [row[0] for row in connection.execute(TABLES)]
        return {name: _table_hash(connection, name) for name in names if name not in left_out}


def state_hashes(
    databases: Mapping[str, str], *, without: Collection[str] = ()
) -> dict[str, dict[str, str]]:
    """The same for every service: service → table → hash."""
    return {service: state_hash(url, without=without) for service, url in databases.items()}


def _table_hash(connection: psycopg.Connection[tuple[str, ...]], table: str) -> str:
    query = sql.SQL("SELECT CAST(to_jsonb(t) - %s::text[] AS text) FROM {} AS t ORDER BY 1")
    rows = connection.execute(query.format(sql.Identifier(table)), (APPOINTMENTS,)).fetchall()
    digest = hashlib.sha256()
    for row in rows:
        digest.update(row[0].encode() + b"\n")
    return f"{len(rows)} rows {digest.hexdigest()[:16]}"
