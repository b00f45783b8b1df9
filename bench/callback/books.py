"""When a run of callbacks counts: each one settled exactly its order, and the money adds up."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import psycopg

from bench.callback.generator import Told
from bench.step import Void

SETTLED = """
    SELECT attempt.id, attempt.order_id, attempt.received_fen, payment_order.amount_fen
    FROM payment_attempt AS attempt
    JOIN payment_order ON payment_order.id = attempt.order_id
         AND payment_order.attempt_id = attempt.id AND payment_order.status = 'SETTLED'
    WHERE attempt.status = 'SUCCEEDED' AND attempt.id = ANY(%s)
"""
COMMITTED = """
    SELECT attempt_id, pg_xact_commit_timestamp(xmin) FROM payment_order
    WHERE status = 'SETTLED' AND attempt_id = ANY(%s)
"""
# What there must be of each, one per callback of the whole run.
ONE_EACH: Mapping[str, str] = {
    "settled orders": "SELECT count(*) FROM payment_order WHERE status = 'SETTLED'",
    "orders": "SELECT count(*) FROM payment_order",
    "succeeded attempts": "SELECT count(*) FROM payment_attempt WHERE status = 'SUCCEEDED'",
    "attempts": "SELECT count(*) FROM payment_attempt",
    "recorded notifications": "SELECT count(*) FROM channel_notification",
    "events": "SELECT count(*) FROM outbox",
    "told orders": "SELECT count(DISTINCT body) FROM outbox",
}
# Each of these would mean that something else became of a callback.
NONE_OF: Mapping[str, str] = {
    "refunds": "SELECT count(*) FROM refund",
    "operator items": "SELECT count(*) FROM operator_item",
    "refused notifications": "SELECT count(*) FROM refused_notification",
    "unexpected receipts": "SELECT count(*) FROM payment_attempt WHERE unexpected_sequence > 0",
}
MONEY: Mapping[str, str] = {
    "received": "SELECT coalesce(sum(received_fen), 0) FROM payment_attempt",
    "settled": "SELECT coalesce(sum(amount_fen), 0) FROM payment_order WHERE status = 'SETTLED'",
}


def require_settled(database_url: str, told: Sequence[Told]) -> None:
    """Each was answered with success, and its attempt settled its order with what it named.

    Raises Void.
    """
    unanswered = sum(not one.is_acknowledged for one in told)
    if unanswered:
        raise Void(f"{unanswered} of {len(told)} callbacks were not answered with success")
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(SETTLED, [[one.attempt_id for one in told]]).fetchall()
    found = {row[0]: row[1:] for row in rows}
    wrong = [
        one
        for one in told
        if found.get(one.attempt_id) != (one.order_id, one.amount_fen, one.amount_fen)
    ]
    if wrong:
        raise Void(
            f"{len(wrong)} callbacks were acknowledged and did not settle their order, such as"
            f" {wrong[0].order_id}"
        )


def settled_at(database_url: str, told: Sequence[Told]) -> dict[UUID, datetime]:
    """Attempt → when its order's settlement was committed."""
    with psycopg.connect(database_url) as connection:
        return dict(connection.execute(COMMITTED, [[one.attempt_id for one in told]]).fetchall())


def require_conserved(database_url: str, *, callbacks: int, amount_fen: int) -> None:
    """One of everything for each callback of the run, nothing else, and no fen more or less.

    Raises Void.
    """
    faults = []
    with psycopg.connect(database_url) as connection:
        for expected, statements in (
            (callbacks, ONE_EACH),
            (0, NONE_OF),
            (amount_fen, MONEY),
        ):
            for name, statement in statements.items():
                count = _number(connection, statement)
                if count != expected:
                    faults.append(f"{name}: {count} instead of {expected}")
    if faults:
        raise Void("; ".join(faults))


def _number(connection: psycopg.Connection, statement: str) -> int:
    row = connection.execute(statement).fetchone()
    assert row is not None
    return int(row[0])
