"""What keeps a process from its work is one sentence in its log and its readiness, and when the
cause is gone the process goes on by itself."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import psycopg
import pytest
from structlog.testing import capture_logs

from shared.kernel.clock import SystemClock
from shared.runtime.messaging.housekeeping import PARTITIONS_AHEAD
from shared.runtime.process import migrate
from shared.runtime.process.revisions import head_revision, migrations_of
from testing.child import free_port
from testing.databases import Databases, plain, waits_for_lock
from testing.eventually import eventually
from testing.servers import Infrastructure

ROOT = Path(__file__).parents[2]


@dataclass
class Worker:
    """One billing worker, and what its log and readiness say."""

    process: subprocess.Popen[bytes]
    log_file: Path
    port: int

    def events(self, name: str) -> list[dict[str, str]]:
        lines = self.log_file.read_text().splitlines()
        return [entry for line in lines if (entry := json.loads(line))["event"] == name]

    async def readiness(self) -> tuple[int, dict[str, str]]:
        """Status and faults. Never blocks: the forwarder to the database lives on the same loop."""
        try:
            async with httpx2.AsyncClient(trust_env=False) as http:
                answer = await http.get(f"http://127.0.0.1:{self.port}/health/ready")
        except httpx2.TransportError:
            return 0, {}
        return answer.status_code, answer.json()["faults"]

    async def until_it_says(self, name: str, sentence: str) -> None:
        async def says_it() -> bool:
            _, faults = await self.readiness()
            return faults.get(name) == sentence

        await eventually(says_it, within_seconds=30)
        told = [entry[name] for entry in self.events("not_ready") if name in entry]
        assert told.count(sentence) == 1, told

    async def until_ready(self) -> None:
        async def is_ready() -> bool:
            status, _ = await self.readiness()
            return status == 200

        await eventually(is_ready, within_seconds=30)


@pytest.fixture
def settings(infrastructure: Infrastructure) -> dict[str, str]:
    return {
        "SONGHE_ENVIRONMENT": "development",
        "SONGHE_KAFKA_BOOTSTRAP_SERVERS": infrastructure.kafka,
        "SONGHE_METRICS_PORT": str(free_port()),
    }


@pytest.fixture
def without_tables(databases: Databases) -> Iterator[str]:
    url = databases.create()
    yield url
    databases.drop(url)


async def test_a_database_without_tables_is_waited_for(
    settings: dict[str, str], without_tables: str, tmp_path: Path
) -> None:
    settings["SONGHE_DATABASE_URL"] = without_tables
    with _worker(settings, tmp_path) as worker:
        await worker.until_it_says("schema", "The database has no tables yet: run migrate.")
        assert worker.events("dispatch") == []

        assert _command(settings, "migrate").returncode == 0

        await worker.until_ready()


async def test_an_older_revision_is_waited_for(
    settings: dict[str, str], without_tables: str, tmp_path: Path
) -> None:
    settings["SONGHE_DATABASE_URL"] = without_tables
    _command(settings, "migrate")
    newest = _set_revision(without_tables, "0000")
    with _worker(settings, tmp_path) as worker:
        await worker.until_it_says(
            "schema", f"The database is at revision 0000, this code needs {newest}: run migrate."
        )

        _set_revision(without_tables, newest)

        await worker.until_ready()


async def test_older_code_leaves_a_newer_database_as_it_is(
    settings: dict[str, str], without_tables: str
) -> None:
    settings["SONGHE_DATABASE_URL"] = without_tables
    _command(settings, "migrate")
    _set_revision(without_tables, "9999")

    done = _command(settings, "migrate")

    assert done.returncode == 0
    assert done.stdout.decode().endswith("billing is at revision 9999\n")


@pytest.fixture
def without_partitions(databases: Databases) -> Iterator[str]:
    url = databases.create("billing")
    yield url
    databases.drop(url)


@contextmanager
def _busy_with_the_outbox(url: str) -> Iterator[None]:
    with psycopg.connect(plain(url)) as busy:
        busy.execute("SELECT count(*) FROM outbox")
        yield


async def test_migrate_waits_for_those_who_are_busy_with_the_outbox(
    settings: dict[str, str], without_partitions: str
) -> None:
    settings["SONGHE_DATABASE_URL"] = without_partitions

    with _busy_with_the_outbox(without_partitions):
        migration = asyncio.create_task(asyncio.to_thread(_command, settings, "migrate"))
        await eventually(lambda: waits_for_lock(without_partitions))
        await eventually(lambda: not waits_for_lock(without_partitions))
        assert not migration.done()

    assert (await migration).returncode == 0
    assert _partition_count(without_partitions) == 1 + 1 + PARTITIONS_AHEAD


async def test_migrate_leaves_partitions_to_the_workers_if_it_never_finds_room(
    without_partitions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "PARTITION_WAIT_SECONDS", 0)

    with _busy_with_the_outbox(without_partitions), capture_logs() as told:
        revision = await migrate.migrate("billing", without_partitions, SystemClock())

    assert revision == head_revision(migrations_of("billing"))
    assert [line["event"] for line in told] == ["outbox_partitions_left"]


def _partition_count(url: str) -> int:
    """The default one too."""
    with psycopg.connect(plain(url)) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = CAST('outbox' AS regclass)"
        ).fetchone()
    assert row is not None
    return int(row[0])


async def test_a_database_that_does_not_answer_is_waited_for(
    settings: dict[str, str], without_tables: str, tmp_path: Path
) -> None:
    port = free_port()
    there = urlsplit(without_tables)
    settings["SONGHE_DATABASE_URL"] = without_tables
    _command(settings, "migrate")
    settings["SONGHE_DATABASE_URL"] = without_tables.replace(f":{there.port}/", f":{port}/")
    with _worker(settings, tmp_path) as worker:
        await worker.until_it_says("database", "The database does not answer.")

        async with _forwarding(port, there.hostname or "", there.port or 0):
            await worker.until_ready()


async def test_a_refused_password_is_told(
    settings: dict[str, str], service_role_url: str, tmp_path: Path
) -> None:
    settings["SONGHE_DATABASE_URL"] = service_role_url
    with _worker(settings, tmp_path) as worker:
        await worker.until_it_says("database", "The database refuses the role or its password.")

    refused = _command(settings, "migrate")
    assert refused.returncode == 1
    assert "password authentication failed" in refused.stderr.decode()
    assert len(refused.stderr.decode().splitlines()) == 1


@pytest.fixture
def service_role_url(infrastructure: Infrastructure, without_tables: str) -> Iterator[str]:
    """A role that must show a password, with a wrong one."""
    role, there = "songhe_test_stranger", urlsplit(without_tables)
    with psycopg.connect(infrastructure.postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP ROLE IF EXISTS {role}")
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'right'")
        place = f"{there.hostname}:{there.port}{there.path}"
        yield f"postgresql+asyncpg://{role}:wrong@{place}"  # pragma: allowlist secret
        connection.execute(f"DROP ROLE {role}")


async def test_a_port_in_use_is_one_sentence_and_the_end(
    settings: dict[str, str], without_tables: str, tmp_path: Path
) -> None:
    settings["SONGHE_DATABASE_URL"] = without_tables
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings["SONGHE_METRICS_PORT"] = str(port)
        with _worker(settings, tmp_path) as worker:
            assert await asyncio.to_thread(worker.process.wait, 20) == 1

    told = [entry["error"] for entry in worker.events("component_failed")]
    assert told == [f"Port {port} of 127.0.0.1 cannot be used: Address already in use."]


@contextmanager
def _worker(settings: dict[str, str], folder: Path) -> Iterator[Worker]:
    log_file = folder / "worker.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.billing", "worker"],
            cwd=ROOT,
            env=_environment(settings),
            stdout=log,
        )
    try:
        yield Worker(process, log_file, int(settings["SONGHE_METRICS_PORT"]))
    finally:
        process.terminate()
        process.wait(20)


def _command(settings: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "services.billing", *arguments],
        cwd=ROOT,
        env=_environment(settings),
        capture_output=True,
        timeout=60,
        check=False,
    )


def _environment(settings: dict[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if "SONGHE" not in name}
    return inherited | settings


def _set_revision(url: str, revision: str) -> str:
    """Returns the revision before."""
    with psycopg.connect(plain(url)) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        connection.execute("UPDATE alembic_version SET version_num = %s", (revision,))
    assert row is not None
    return str(row[0])


@asynccontextmanager
async def _forwarding(port: int, host: str, target: int) -> AsyncIterator[None]:
    """A database that comes up: from now on `port` leads to the real one."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(host, target)
        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))

    server = await asyncio.start_server(connect, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
