"""Dead letters of a service, as rows and through its operator commands."""

from dataclasses import dataclass

import psycopg

from devstack.stack import Stack


@dataclass(frozen=True, slots=True)
class Letter:
    id: int
    status: str
    topic: str
    key: str
    event_type: str | None
    error: str


def open_letters(stack: Stack, service: str) -> list[Letter]:
    """What is parked and not settled yet, oldest first."""
    with psycopg.connect(stack.databases[service]) as connection:
        rows = connection.execute(
            "SELECT id, status, topic, convert_from(key, 'UTF8'), event_type, error"
            " FROM dead_letter WHERE resolved_at IS NULL ORDER BY id"
        ).fetchall()
    return [Letter(*row) for row in rows]


def operate(stack: Stack, service: str, *command: str) -> str:
    """Run `python -m services.<service> <command>`; its output, after a clean end."""
    done = stack.run(service, *command)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
