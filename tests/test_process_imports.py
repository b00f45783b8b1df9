"""Each process holds only what it uses: an import too much is paid at every start, and for ever."""

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import services

ROOT = Path(__file__).resolve().parent.parent
# Composes a process as its start does, up to the first step of its loop.
COMPOSE = """
import sys
from importlib import import_module

service, process = sys.argv[1:]
commands = import_module(f"services.{service}.main").COMMANDS
commands.processes[process](None).close()
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""

# With asyncpg nobody needs SQLAlchemy, and only `migrate` needs alembic.
NOBODY = frozenset({"alembic", "mako", "psycopg", "sqlalchemy"})
WEB = frozenset({"fastapi", "starlette"})
TOKENS = frozenset({"jwt"})
CALLS = frozenset({"httpx2"})
KAFKA = frozenset({"aiokafka"})
REDIS = frozenset({"redis"})
TEXTS = frozenset({"jinja2"})
NUMBERS = frozenset({"phonenumbers"})
STREAMS = frozenset({"faust"})
EVERYTHING = WEB | TOKENS | CALLS | KAFKA | REDIS | TEXTS | NUMBERS | STREAMS

# What each process uses; nothing else of the above may be there.
USED = {
    ("identity", "api"): WEB | TOKENS | CALLS | REDIS | NUMBERS,
    ("identity", "worker"): frozenset[str](),
    ("billing", "api"): WEB | TOKENS | CALLS,
    ("billing", "worker"): KAFKA,
    ("payment", "api"): WEB | TOKENS | CALLS | REDIS,
    ("payment", "worker"): KAFKA | CALLS,
    ("notifier", "api"): WEB | TOKENS | CALLS | TEXTS,
    ("notifier", "worker"): KAFKA | TOKENS | CALLS | REDIS | TEXTS,
    ("notifier", "stream"): KAFKA | STREAMS,
}


def test_every_process_is_in_the_table() -> None:
    processes = {
        (service, process)
        for _, service, _ in pkgutil.iter_modules(services.__path__)
        for process in importlib.import_module(f"services.{service}.main").COMMANDS.processes
    }

    assert processes == set(USED)


@pytest.mark.parametrize(("service", "process"), USED)
def test_a_process_imports_only_what_it_uses(service: str, process: str) -> None:
    composed = subprocess.run(
        [sys.executable, "-c", COMPOSE, service, process],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    found = set(composed.stdout.split()) & (EVERYTHING | NOBODY)

    assert found == USED[service, process]
