"""PostgreSQL, Kafka and Redis restart, die, refuse and forget while people pay."""

import contextlib
import signal
import time
from collections.abc import Callable

import psycopg
import redis

from tests.crash.faults.proxy import CommitCutter
from tests.crash.run import Act, Field, Mode, Scenario, Void
from tests.crash.stacks import WIRE_WORKERS

POSTGRES_DOWN_SECONDS = 3.0
KAFKA_DOWN_SECONDS = 20.0
REDIS_DOWN_SECONDS = 15.0
TERMINATE_SECONDS = 15.0
TERMINATE_EVERY_SECONDS = 0.5
EXHAUSTED_SECONDS = 15.0
CUTS = 20
CUT_SECONDS = 30.0

TERMINATE = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
  AND application_name LIKE 'songhe-%'
"""


def restart_postgres(field: Field) -> None:
    """As an upgrade does it: clients are disconnected, a clean checkpoint, start."""
    field.stack.stack.stop("postgres")
    time.sleep(POSTGRES_DOWN_SECONDS)
    field.stack.stack.start("postgres")


def crash_postgres(field: Field) -> None:
    """Immediate shutdown: no checkpoint, the next start recovers from the WAL."""
    server = field.stack.stack.find("postgres")
    if server is None:
        raise Void("PostgreSQL does not run")
    server.send_signal(signal.SIGQUIT)
    server.wait(30)
    field.stack.stack.start("postgres")


def terminate_backends(field: Field) -> None:
    """All connections of all services, again and again."""
    deadline = time.monotonic() + TERMINATE_SECONDS
    count = 0
    with psycopg.connect(field.stack.stack.superuser_url, autocommit=True) as connection:
        while time.monotonic() < deadline:
            row = connection.execute(TERMINATE).fetchone()
            count += row[0] if row else 0
            time.sleep(TERMINATE_EVERY_SECONDS)
    if not count:
        raise Void("no backend was there to be terminated")
    field.notes.append(f"{count} backends terminated")


def exhaust_connections(field: Field) -> None:
    """Strangers take every connection; the services' own break once and find none."""
    held: list[psycopg.Connection[tuple[object, ...]]] = []
    url = field.stack.databases["billing"]
    deadline = time.monotonic() + EXHAUSTED_SECONDS
    refused = 0
    try:
        with psycopg.connect(field.stack.stack.superuser_url, autocommit=True) as connection:
            while time.monotonic() < deadline:
                try:
                    held.append(psycopg.connect(url, connect_timeout=2))
                except psycopg.OperationalError:
                    refused += 1
                    connection.execute(TERMINATE)
                    time.sleep(TERMINATE_EVERY_SECONDS)
    finally:
        for each in held:
            with contextlib.suppress(psycopg.Error):
                each.close()
    if not refused:
        raise Void("the connections were never exhausted")
    field.notes.append(f"{len(held)} connections held, refused {refused} times")


class CutCommits:
    """The answer to a COMMIT never arrives: whether it happened, the service cannot know."""

    def __init__(self) -> None:
        self._cutter: CommitCutter | None = None

    def before(self, field: Field) -> None:
        server = field.stack.stack.plan().server
        self._cutter = CommitCutter(server.host, server.port)
        port = self._cutter.start()
        for name in WIRE_WORKERS:
            service = name.split("-")[0]
            settings = field.stack.stack.environment_for(service, "worker")
            url = settings["SONGHE_DATABASE_URL"].replace(f":{server.port}/", f":{port}/")
            field.stack.stop(name)
            field.stack.launch(name, environment={"SONGHE_DATABASE_URL": url})
        for name in WIRE_WORKERS:
            field.stack.wait_until_ready(name)

    def fault(self, field: Field) -> None:
        assert self._cutter is not None
        self._cutter.cut(CUTS)
        deadline = time.monotonic() + CUT_SECONDS
        while self._cutter.left and time.monotonic() < deadline:
            time.sleep(0.1)
        if self._cutter.left:
            raise Void(f"{self._cutter.left} of {CUTS} answers were not cut off")
        field.notes.append(f"{CUTS} answers to COMMIT cut off")

    def after(self, field: Field) -> None:
        assert self._cutter is not None
        for name in WIRE_WORKERS:
            field.stack.stop(name)
        self._cutter.stop()
        for name in WIRE_WORKERS:
            field.stack.launch(name)
        for name in WIRE_WORKERS:
            field.stack.wait_until_ready(name)


def _kafka_away(stop: Callable[[Field], None], seconds: float) -> Act:
    def act(field: Field) -> None:
        stop(field)
        time.sleep(seconds)
        field.stack.stack.start("kafka")

    return act


def _stop_kafka(field: Field) -> None:
    field.stack.stack.stop("kafka")


def _kill_kafka(field: Field) -> None:
    field.stack.stack.kill("kafka")


def flush_redis(field: Field) -> None:
    with contextlib.closing(redis.Redis.from_url(field.stack.stack.plan().redis_url)) as client:
        client.flushall()


def lose_redis(field: Field) -> None:
    field.stack.stack.kill("redis")
    time.sleep(REDIS_DOWN_SECONDS)
    field.stack.stack.start("redis")


_cut = CutCommits()

SERVER_SCENARIOS = [
    Scenario(
        name="postgres-restart",
        what="PostgreSQL is stopped cleanly, away for 3 s, and started",
        fault=restart_postgres,
        seconds=35.0,
    ),
    Scenario(
        name="postgres-immediate-shutdown",
        what="PostgreSQL is shut down without a checkpoint, and recovers",
        fault=crash_postgres,
        seconds=35.0,
    ),
    Scenario(
        name="backends-terminated",
        what="every connection of every service is terminated twice a second for 15 s",
        fault=terminate_backends,
        seconds=35.0,
    ),
    Scenario(
        name="commit-answer-cut",
        what="the connection breaks between a COMMIT and its answer, 20 times",
        before=_cut.before,
        fault=_cut.fault,
        after=_cut.after,
    ),
    Scenario(
        name="connections-exhausted",
        what="strangers hold every connection for 15 s, and those of the services break",
        fault=exhaust_connections,
        seconds=35.0,
    ),
    Scenario(
        name="kafka-stopped",
        what="the broker is stopped for 20 s",
        fault=_kafka_away(_stop_kafka, KAFKA_DOWN_SECONDS),
        seconds=45.0,
    ),
    Scenario(
        name="kafka-killed",
        what="SIGKILL to the broker, started again after 3 s",
        fault=_kafka_away(_kill_kafka, 3.0),
        seconds=35.0,
    ),
    Scenario(
        name="redis-flushed",
        what="everything in Redis is gone at once",
        mode=Mode.WIRE,
        rate=50.0,
        seconds=20.0,
        fault=flush_redis,
    ),
    Scenario(
        name="redis-gone",
        what="SIGKILL to Redis, away for 15 s",
        mode=Mode.WIRE,
        rate=50.0,
        seconds=40.0,
        fault=lose_redis,
    ),
]
