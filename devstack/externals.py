"""Servers that already run and that a stack uses instead of starting its own."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from devstack.postgres import Server
from devstack.problems import SettingError

PREFIX = "SONGHE_DEVSTACK_"


@dataclass(frozen=True, kw_only=True)
class Externals:
    """None means: start our own. The PostgreSQL URL needs a user who may create roles."""

    postgres_url: str | None = None
    redis_url: str | None = None
    kafka_bootstrap_servers: str | None = None

    @property
    def names(self) -> frozenset[str]:
        """The processes that are not started because a server stands in for them."""
        given = {
            "postgres": self.postgres_url,
            "redis": self.redis_url,
            "kafka": self.kafka_bootstrap_servers,
        }
        return frozenset(name for name, value in given.items() if value)

    def postgres(self) -> Server:
        """The PostgreSQL server of `postgres_url`. Raises SettingError."""
        parts = urlsplit(self.postgres_url or "")
        if not (parts.scheme.startswith("postgresql") and parts.hostname and parts.username):
            raise SettingError(
                f"{PREFIX}POSTGRES_URL must be postgresql:// with user, password, host and port."
            )
        return Server(
            parts.hostname,
            parts.port or 5432,
            unquote(parts.username),
            unquote(parts.password or ""),
        )


def from_environment() -> Externals:
    """What the `SONGHE_DEVSTACK_…` settings say."""
    return Externals(
        postgres_url=os.environ.get(f"{PREFIX}POSTGRES_URL") or None,
        redis_url=os.environ.get(f"{PREFIX}REDIS_URL") or None,
        kafka_bootstrap_servers=os.environ.get(f"{PREFIX}KAFKA_BOOTSTRAP_SERVERS") or None,
    )


def remembered(file: Path) -> Externals | None:
    """What the stack was last brought up with, None if it never was."""
    return Externals(**json.loads(file.read_text())) if file.exists() else None


def remember(file: Path, externals: Externals) -> None:
    file.touch(mode=0o600)
    file.write_text(json.dumps(asdict(externals)))
