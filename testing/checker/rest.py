"""Whether everything has come to rest, asked cheaply and often."""

import time
from collections.abc import Mapping
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from testing.checker.log_reader import log_bounds
from testing.checker.world_reader import CONSUMERS, TOPICS

POLL_SECONDS = 0.25
CONNECT_SECONDS = 5
UNSENT = """
SELECT (SELECT count(*) FROM outbox_queue)
     + (SELECT count(*) FROM outbox WHERE resend_at IS NOT NULL) AS count
"""
# What must become zero, by the service that knows it.
UNDER_WAY = {
    "billing": {
        "open requests": "SELECT count(*) FROM payment_request WHERE status = 'OPEN'",
        "unsent events": UNSENT,
    },
    "payment": {
        "open orders": "SELECT count(*) FROM payment_order WHERE status = 'REQUESTED'",
        "undecided money": "SELECT count(*) FROM payment_attempt"
        " WHERE unexpected_sequence > 0 AND decision IS NULL",
        "unsent events": UNSENT,
    },
    "notifier": {
        "messages under way": "SELECT count(*) FROM notification WHERE due_at IS NOT NULL",
    },
}
POSITIONS = "SELECT topic, partition, next_offset FROM position WHERE consumer = %s"


def until_at_rest(
    databases: Mapping[str, str], bootstrap_servers: str, *, within_seconds: float
) -> float:
    """Wait until no order is open, nothing waits and all consumers are at the ends of the logs.

    Blocking; returns the seconds it took. Raises TimeoutError that says what still moves. A
    server that does not answer counts as "not yet".
    """
    began = time.monotonic()
    while True:
        try:
            moving = under_way(databases) or behind(databases, bootstrap_servers)
        except (psycopg.Error, OSError, RuntimeError) as error:
            moving = {type(error).__name__: 1}
        seconds = time.monotonic() - began
        if not moving:
            return seconds
        if seconds > within_seconds:
            raise TimeoutError(f"not at rest within {within_seconds:g} s: {moving}")
        time.sleep(POLL_SECONDS)


def under_way(databases: Mapping[str, str]) -> dict[str, int]:
    """What still moves in the databases, with counts; empty when all orders are terminal."""
    found: dict[str, int] = {}
    for service, queries in UNDER_WAY.items():
        with _connect(databases[service]) as connection:
            for name, query in queries.items():
                row = connection.execute(query.encode()).fetchone()
                if row is not None and row[0]:
                    found[f"{service}: {name}"] = row[0]
    return found


def behind(databases: Mapping[str, str], bootstrap_servers: str) -> dict[str, int]:
    """Consumer and topic → records that it has not taken; empty when all are at the ends."""
    bounds = {topic: log_bounds(bootstrap_servers, topic) for topic in TOPICS}
    found: dict[str, int] = {}
    for service, topics in CONSUMERS.items():
        with _connect(databases[service]) as connection:
            rows = connection.execute(POSITIONS, (service,)).fetchall()
        stored = {(topic, partition): offset for topic, partition, offset in rows}
        for topic in topics:
            missing = sum(
                abs(end - stored.get((topic, number), first))
                for number, (first, end) in bounds[topic].items()
            )
            if missing:
                found[f"{service}: records of {topic}"] = missing
    return found


def _connect(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, connect_timeout=CONNECT_SECONDS)
