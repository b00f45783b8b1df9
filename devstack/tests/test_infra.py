"""The real servers: started once, a second time is a no-op, closed to each other, gone after."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from devstack import kafka, valkey
from devstack.plan import ROOT, SERVERS
from devstack.processes import STACK_MARK, Processes, has_ended
from devstack.stack import Stack
from shared.catalogue import SERVICES

INFRA = ["infra"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("stack"))
    try:
        stack.up(only=INFRA)
        yield stack
    finally:
        stack.down(delete=True)


def pids(stack: Stack) -> dict[str, int]:
    found = {name: stack.find(name) for name in SERVERS}
    return {name: process.pid for name, process in found.items() if process is not None}


def port_of(stack: Stack, name: str) -> int:
    return urlsplit(stack.urls[name]).port or 0


def test_all_three_servers_answer(stack: Stack) -> None:
    with psycopg.connect(stack.superuser_url) as connection:
        version = connection.execute("SHOW server_version_num").fetchone()

    assert version is not None
    assert version[0].startswith("18")
    assert valkey.answers("127.0.0.1", port_of(stack, "redis"))
    assert kafka.answers("127.0.0.1", port_of(stack, "kafka"))


def test_a_second_up_changes_nothing(stack: Stack) -> None:
    before = pids(stack)

    assert stack.up(only=INFRA) is False

    assert pids(stack) == before
    assert len(before) == 3


def test_a_dead_server_is_started_again_and_the_others_stay(stack: Stack) -> None:
    before = pids(stack)
    stack.kill("redis")

    assert stack.up(only=INFRA) is True

    after = pids(stack)
    assert after.pop("redis") != before.pop("redis")
    assert after == before


def test_a_crashed_database_comes_back_with_its_data(stack: Stack) -> None:
    with psycopg.connect(stack.databases["billing"]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS value")

    stack.kill("postgres")
    stack.start("postgres")

    with psycopg.connect(stack.databases["billing"]) as connection:
        assert connection.execute("SELECT value FROM kept").fetchone() == (1,)


@pytest.mark.parametrize("role", SERVICES)
def test_a_role_enters_its_own_database_only(role: str, stack: Stack) -> None:
    own = stack.databases[role]

    for other in [*(f"songhe_{service}" for service in SERVICES), "postgres", "template1"]:
        url = urlsplit(own)._replace(path=f"/{other}").geturl()
        if other == f"songhe_{role}":
            psycopg.connect(url).close()
        else:
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                psycopg.connect(url)


def test_a_role_has_no_rights_beyond_its_database(stack: Stack) -> None:
    with psycopg.connect(stack.superuser_url) as connection:
        rows = connection.execute(
            "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls"
            " FROM pg_roles WHERE rolname LIKE 'songhe_%'"
        ).fetchall()

    assert rows == [(False,)] * len(SERVICES)


def test_a_commit_is_on_disk(stack: Stack) -> None:
    with psycopg.connect(stack.superuser_url) as connection:
        durable = connection.execute(
            "SELECT current_setting('fsync'), current_setting('synchronous_commit'),"
            " current_setting('full_page_writes'), current_setting('listen_addresses')"
        ).fetchone()

    assert durable == ("on", "on", "on", "127.0.0.1")


def test_keys_are_for_the_owner_only(stack: Stack) -> None:
    files = [path for path in (stack.state_dir / "keys").rglob("*") if path.is_file()]

    assert files
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert (stack.state_dir / "keys").stat().st_mode & 0o777 == 0o700


def test_identity_accepts_the_other_services_and_they_accept_nobody(stack: Stack) -> None:
    accepted = {
        service: {
            path.stem
            for path in Path(
                stack.environment_for(service, "api")["SONGHE_SERVICE_PUBLIC_KEYS_DIR"]
            ).glob("*.pem")
        }
        for service in SERVICES
    }

    assert accepted.pop("identity") == {"billing", "payment", "notifier"}
    assert set(map(frozenset, accepted.values())) == {frozenset()}


def test_starting_one_process_again_moves_no_port_of_what_others_started(tmp_path: Path) -> None:
    """Such as a service that a test starts by itself, so that it can tell it to die."""
    stack = Stack(tmp_path / "stack")
    try:
        stack.start("redis")
        before = stack.plan().ports
        listen = f"import socket; s = socket.create_server(('127.0.0.1', {before['billing-api']}))"
        with subprocess.Popen(
            [sys.executable, "-c", f"{listen}; print('up', flush=True); s.accept()"],
            env={**os.environ, STACK_MARK: str(stack.state_dir)},
            stdout=subprocess.PIPE,
        ) as own:
            assert own.stdout is not None
            own.stdout.readline()
            stack.kill("redis")
            stack.start("redis")
            own.kill()

        assert stack.plan().ports == before
    finally:
        stack.down(delete=True)


def test_down_leaves_no_process_even_when_the_parent_died(tmp_path: Path) -> None:
    """`up` runs in a process that is killed while it waits for Kafka."""
    stack = Stack(tmp_path / "stack")
    command = [sys.executable, "-m", "devstack", "up", "--only", "infra"]
    environment = {**os.environ, "SONGHE_STATE_DIR": str(stack.state_dir)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        next(line for line in parent.stdout if "postgres         ready" in line)
        parent.kill()
    processes = Processes(stack.state_dir)
    running = processes.strays()

    stack.down()

    assert running
    assert all(has_ended(process) for process in running)
    assert processes.strays() == []
