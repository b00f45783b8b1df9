"""Where the servers of a test session are."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Infrastructure:
    """Where the servers are; the PostgreSQL user may create databases."""

    postgres_url: str
    redis_url: str
    kafka: str


class InfrastructureError(Exception):
    """The settings for the test infrastructure are wrong; one sentence."""
