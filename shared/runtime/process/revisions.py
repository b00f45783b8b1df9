"""Which migrations this code brings, read from their files: alembic is for who runs them."""

import importlib
import re
from pathlib import Path

from shared.runtime.database.database import Database, sqlstate
from shared.runtime.database.statements import text

UNDEFINED_TABLE = "42P01"
REVISION = re.compile(r"""^revision\b[^=\n]*=\s*["'](?P<revision>\w+)["']""", re.MULTILINE)


def migrations_of(service: str) -> Path:
    """The folder of a service's migrations, wherever the package is installed."""
    package = importlib.import_module(f"services.{service}")
    return Path(next(iter(package.__path__))) / "migrations"


def head_revision(migrations: Path) -> str:
    """The newest revision that this code knows; readiness demands it of the database.

    Revisions are numbered in order: the newest is the largest. Raises ValueError where the folder
    holds none, or a file that names none.
    """
    revisions = [_revision(file) for file in (migrations / "versions").glob("*.py")]
    if not revisions:
        raise ValueError(f"{migrations.name} holds no revision")
    return max(revisions)


async def revision_of(database: Database) -> str | None:
    """The newest migration that the database has; None where it has no tables yet."""
    async with database.statements() as connection:
        try:
            found: str | None = await connection.scalar(
                text("SELECT version_num FROM alembic_version")
            )
        except Exception as error:
            if sqlstate(error) == UNDEFINED_TABLE:
                return None
            raise
    return found


def _revision(file: Path) -> str:
    found = REVISION.search(file.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{file.name} names no revision")
    return found["revision"]
