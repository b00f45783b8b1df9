"""Live: this process still moves. Ready: it can do its work now. Both on the metrics port.

Live never asks a dependency: a broker that is down must not restart every process.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from shared.kernel.errors import SongheError
from shared.runtime.database.database import Database, is_transient, sqlstate
from shared.runtime.database.statements import text
from shared.runtime.ground import metrics
from shared.runtime.process.revisions import head_revision, migrations_of, revision_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

HEARTBEAT_AGE_MAX_SECONDS = 30.0
CHECK_DEADLINE_SECONDS = 0.5
# Many probes, few questions to the database.
CACHE_SECONDS = 2.0

Check = Callable[[], Awaitable[None]]

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Health:
    """What the probes of one process answer from."""

    # Raise to say "not ready"; each has 500 ms.
    ready_checks: dict[str, Check] = field(default_factory=dict)
    # False says "stuck": the process is restarted. Must not ask anything outside.
    live_checks: dict[str, Callable[[], bool]] = field(default_factory=dict)
    is_draining: bool = False
    _beat_at: float = field(default_factory=time.monotonic)
    _faults: dict[str, str] = field(default_factory=dict)
    _checked_at: float = float("-inf")
    _checking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def beat(self) -> None:
        """Called by the event loop itself, again and again."""
        self._beat_at = time.monotonic()

    def drain(self) -> None:
        """Not ready from now on: the process is about to stop."""
        self.is_draining = True

    def stuck(self) -> list[str]:
        """What does not move any more; empty = alive."""
        found = [name for name, is_alive in self.live_checks.items() if not is_alive()]
        if time.monotonic() - self._beat_at >= HEARTBEAT_AGE_MAX_SECONDS:
            found.append("event_loop")
        return found

    async def faults(self) -> dict[str, str]:
        """Why this process is not ready; empty = ready."""
        if self.is_draining:
            return {"process": "draining"}
        async with self._checking:
            if time.monotonic() - self._checked_at >= CACHE_SECONDS:
                names = list(self.ready_checks)
                found = await asyncio.gather(*(self._check(name) for name in names))
                self._tell({name: fault for name, fault in zip(names, found, strict=True) if fault})
                self._checked_at = time.monotonic()
        return self._faults

    def _tell(self, faults: dict[str, str]) -> None:
        """One line when it begins, changes or ends; not one for every probe."""
        if faults != self._faults:
            if faults:
                log.warning("not_ready", **faults)
            else:
                log.info("ready_again")
        self._faults = faults

    async def _check(self, name: str) -> str | None:
        try:
            async with asyncio.timeout(CHECK_DEADLINE_SECONDS):
                await self.ready_checks[name]()
        except TimeoutError:
            return f"The {name} did not answer in time."
        except SongheError as error:
            return str(error)
        except Exception as error:
            log.debug("check_failed", check=name, exc_info=True)
            return _sentence(name, error)
        return None


class NotReady(SongheError):
    """One sentence: why this process cannot do its work now."""


class Watched(Protocol):
    """A component that knows what keeps it from working until a person mends it."""

    @property
    def name(self) -> str: ...

    @property
    def fault(self) -> Exception | None: ...


def service_health(database: Database, *, service: str, watched: Sequence[Watched] = ()) -> Health:
    """Ready while the database answers, has the schema that this code needs, and no part of
    `watched` has a fault. Kafka down is none: the outbox waits.
    """
    revision = head_revision(migrations_of(service))
    return Health(
        ready_checks={
            "database": database_check(database),
            "schema": schema_check(database, revision, service=service),
            **{part.name: _fault_check(part) for part in watched},
        }
    )


def _fault_check(part: Watched) -> Check:
    async def check() -> None:
        if part.fault is not None:
            raise part.fault

    return check


def _sentence(name: str, error: Exception) -> str:
    found = sqlstate(error)
    if found in ("28P01", "28000"):
        return f"The {name} refuses the role or its password."
    if found in ("3D000", "42501"):
        return f"The {name} does not exist, or this role may not enter it."
    if is_transient(error):
        return f"The {name} does not answer."
    return f"The {name} cannot be asked ({type(error).__name__})."


def database_check(database: Database) -> Check:
    """Ready while the database answers."""

    async def check() -> None:
        async with database.statements() as connection:
            await connection.execute(text("SELECT 1"))

    return check


def schema_check(database: Database, expected: str, *, service: str) -> Check:
    """Ready once the database has the migration `expected` or a later one.

    Revisions are numbered in order (`0001`, `0002`): a newer database still serves older code.
    The check raises NotReady.
    """
    is_known = False

    async def check() -> None:
        nonlocal is_known
        if is_known:
            return
        found = await revision_of(database)
        if found is None:
            raise NotReady("The database has no tables yet: run migrate.")
        if found < expected:
            raise NotReady(
                f"The database is at revision {found}, this code needs {expected}: run migrate."
            )
        metrics.SCHEMA_REVISION.labels(service, found).set(1)
        is_known = True

    return check


def operations_app(health: Health) -> "ASGIApp":
    """`/metrics`, `/health/live` and `/health/ready`, for the port that only we can reach."""

    async def app(scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http":
            return
        status, content_type, body = await _answer(scope["method"], scope["path"], health)
        headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": body})

    return app


async def _answer(method: str, path: str, health: Health) -> tuple[int, bytes, bytes]:
    if method not in ("GET", "HEAD"):
        return _json(405, {"status": "method not allowed"})
    match path:
        case "/metrics":
            return 200, metrics.CONTENT_TYPE.encode(), metrics.render()
        case "/health/live":
            stuck = health.stuck()
            return _json(503 if stuck else 200, {"status": "stuck" if stuck else "live"})
        case "/health/ready":
            faults = await health.faults()
            status = "not ready" if faults else "ready"
            return _json(503 if faults else 200, {"status": status, "faults": faults})
    return _json(404, {"status": "not found"})


def _json(status: int, content: dict[str, Any]) -> tuple[int, bytes, bytes]:
    return status, b"application/json", json.dumps(content).encode()
