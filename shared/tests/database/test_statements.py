"""What SQLAlchemy made of addresses and texts is what our own few lines make of them."""

import gc
import importlib
import pkgutil

import pytest
import sqlalchemy
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.engine import make_url

import services
import shared.runtime
from shared.runtime.database.address import parse_address
from shared.runtime.database.statements import Statement, text

TEXTS = (
    "SELECT 1",
    "SELECT :one, :two, :one",
    "SELECT :one::bigint, CAST(:two AS uuid[])",
    r"SELECT '\:none', now()::date, :one",
    "SELECT '12:30', a:b, :c_1, '{\"x\":1}'",
    "SELECT a FROM b WHERE c LIKE '%' || :d || '%' AND e[1:2] = :f",
)
# Nobody's passwords; each has what a URL would take for its own.
URLS = (
    "postgresql+asyncpg://songhe:a@127.0.0.1:5432/billing",  # pragma: allowlist secret
    "postgresql+psycopg://songhe@127.0.0.1/billing",
    "postgresql+asyncpg://us%40er:p%2Fw%20d@host:5/d%20b",  # pragma: allowlist secret
    "postgresql+asyncpg://u:p+q/#?%25@host/a+b",  # pragma: allowlist secret
    "postgresql+asyncpg://u:p@[::1]:5433/db",  # pragma: allowlist secret
    "postgresql+asyncpg://u@/db?host=/run/postgresql",
    "postgresql+asyncpg://u@host/db?ssl=require&application_name=a+b",
    "postgresql+asyncpg://host",
)


def compiled(written: str) -> tuple[str, tuple[str, ...]]:
    """What asyncpg would get from SQLAlchemy."""
    done = sqlalchemy.text(written).compile(dialect=dialect())  # type: ignore[no-untyped-call]
    return str(done), tuple(done.positiontup or ())


@pytest.mark.parametrize("written", TEXTS)
def test_a_text_is_numbered_as_sqlalchemy_numbers_it(written: str) -> None:
    statement = text(written)

    assert (statement.numbered, statement.names) == compiled(written)


def test_every_statement_of_the_product_is_numbered_so() -> None:
    for package in (services, shared.runtime):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".adapters." in module.name or module.name.startswith("shared."):
                importlib.import_module(module.name)
    statements = [found for found in gc.get_objects() if isinstance(found, Statement)]

    wrong = [it.text for it in statements if (it.numbered, it.names) != compiled(it.text)]

    assert len(statements) > 100
    assert wrong == []


@pytest.mark.parametrize("url", URLS)
def test_an_address_is_read_as_sqlalchemy_reads_it(url: str) -> None:
    address, expected = parse_address(url), make_url(url)

    assert address.driver == expected.get_driver_name()
    assert address.connection == expected.translate_connect_args(username="user")
    assert address.options == dict(expected.query)


def test_an_address_shows_nothing_of_its_url_but_the_driver() -> None:
    assert repr(parse_address(URLS[0])) == "DatabaseAddress(driver='asyncpg')"


@pytest.mark.parametrize("url", ["", "billing", "postgresql://host/db", "a+b://host:none/db"])
def test_what_is_no_address_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="not the URL of a database"):
        parse_address(url)
