"""Databases for tests: migrated once per service and session, then copied from that template."""

import secrets

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from shared.runtime.process.migrations import run_migrations
from shared.runtime.process.revisions import migrations_of

NAME_PREFIX = "songhe_test"
DRIVER = "postgresql+asyncpg"


class Databases:
    """Creates databases on one server and drops them; blocking.

    `superuser_url` is a `postgresql://…` URL. Every name carries a random suffix, so that
    sessions on one server do not meet.
    """

    def __init__(self, superuser_url: str) -> None:
        self._url = make_url(superuser_url)
        self._session = secrets.token_hex(4)
        self._templates: dict[str, str] = {}
        self._created: set[str] = set()

    def create(self, service: str | None = None) -> str:
        """The asyncpg URL of a fresh database, with the tables of `service` or with none."""
        template = self._template(service) if service else "template1"
        return self._url_of(self._create(service or "empty", template=template))

    def drop(self, url: str) -> None:
        """Drop a database, whoever is still connected to it."""
        self._drop(make_url(url).database or "")

    def drop_all(self) -> None:
        """Drop everything that was created here, templates too."""
        for name in sorted(self._created):
            self._drop(name)

    def _template(self, service: str) -> str:
        if service not in self._templates:
            name = self._create(f"{service}_template", template="template1")
            run_migrations(self._url_of(name), migrations_of(service))
            self._templates[service] = name
        return self._templates[service]

    def _create(self, purpose: str, *, template: str) -> str:
        name = f"{NAME_PREFIX}_{self._session}_{purpose}_{secrets.token_hex(4)}"
        self._execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        self._created.add(name)
        return name

    def _drop(self, name: str) -> None:
        if name not in self._created:
            raise ValueError(f"database {name} was not created by this session")
        self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        self._created.discard(name)

    def _execute(self, statement: sql.Composed) -> None:
        plain = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement)

    def _url_of(self, name: str) -> str:
        url = self._url.set(drivername=DRIVER, database=name)
        return url.render_as_string(hide_password=False)


def plain(url: str) -> str:
    """The URL without SQLAlchemy's driver name, as psycopg takes it."""
    return url.replace(f"{DRIVER}://", "postgresql://")


def waits_for_lock(url: str) -> bool:
    """Whether somebody in this database waits for a lock now; blocking."""
    with psycopg.connect(plain(url)) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchone()
    return found is not None and found[0] > 0
