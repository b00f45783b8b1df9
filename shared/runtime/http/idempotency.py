"""Idempotency-Key: one key and body run a use case once and give the same answer ever after.

Lock first, look up in a *later* statement: under READ COMMITTED that statement sees what the
holder of the lock before us committed. The state and the stored answer commit together.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import Response

from shared.kernel.errors import Refused
from shared.kernel.wording import Language
from shared.runtime.database.database import Database
from shared.runtime.database.statements import text
from shared.runtime.database.unit_of_work import Unit
from shared.runtime.ground import crash_points, metrics
from shared.runtime.http.languages import in_language
from shared.runtime.http.problems import render

REPLAYED_HEADER = "Idempotency-Replayed"
JSON_HEADERS = {"Content-Type": "application/json"}
# Nothing was decided: the same key may be answered otherwise next time. So it is with 5xx, and with
# whatever says when to come again.
NEVER_STORED = frozenset({400, 401, 429})
RETRY_AFTER_HEADER = "Retry-After"

TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(CAST(:lock AS bigint))")
FIND = text(
    """
    SELECT request_hash, status, headers, body FROM idempotency_key
    WHERE subject = :subject AND operation = :operation AND key = :key
    """
)
STORE = text(
    """
    INSERT INTO idempotency_key (subject, operation, key, request_hash, status, headers, body)
    VALUES (:subject, :operation, :key, :request_hash, :status, :headers, :body)
    """
)

UseCase = Callable[[Unit], Awaitable["Answer"]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished HTTP answer, as it is stored and sent."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: dict(JSON_HEADERS))

    @classmethod
    def of(cls, status: int, content: BaseModel | Mapping[str, Any], **headers: str) -> "Answer":
        """A JSON answer; further headers as keywords, `location="…"`."""
        named = {name.replace("_", "-").title(): value for name, value in headers.items()}
        return cls(status, to_json(content), JSON_HEADERS | named)


@dataclass(frozen=True, slots=True)
class _Scope:
    """A key means something only for its subject and operation."""

    subject: str
    operation: str
    key: str

    @property
    def lock(self) -> int:
        named = json.dumps([self.subject, self.operation, self.key]).encode()
        return int.from_bytes(hashlib.sha256(named).digest()[:8], "big", signed=True)

    @property
    def columns(self) -> dict[str, object]:
        return {"subject": self.subject, "operation": self.operation, "key": self.key}


async def answer_once(
    database: Database,
    *,
    subject: object,
    operation: str,
    key: str,
    request: BaseModel | Mapping[str, Any],
    use_case: UseCase,
    language: Language = Language.ZH,
) -> Response:
    """Run `use_case` in one transaction, unless this key already has an answer.

    `request` is everything that the caller asked, path parameters included: another request
    under the same key is refused with 422. A refusal is kept in the `language` of who asked
    first; one that invites to try again (`retry_after_seconds`) is never stored. Raises Refused,
    also for `request_in_progress`.
    """
    scope = _Scope(str(subject), operation, key)
    request_hash = _hash(request)
    async with database.transaction() as unit:
        await _lock(unit, scope)
        stored = await _find(unit, scope, request_hash)
        if stored is not None:
            return _response(stored)
        answer = await _run(unit, use_case, language)
        if _is_stored(answer):
            await _store(unit, scope, request_hash, answer)
        crash_points.reach("http.before_commit")
    crash_points.reach("http.after_commit")
    return _response(answer)


async def _lock(unit: Unit, scope: _Scope) -> None:
    if not await unit.connection.scalar(TRY_LOCK, {"lock": scope.lock}):
        raise Refused(
            "request_in_progress",
            "A request with this key is still being worked on.",
            extra={"retry_after_seconds": 1},
        )


async def _find(unit: Unit, scope: _Scope, request_hash: bytes) -> Answer | None:
    row = (await unit.connection.execute(FIND, scope.columns)).one_or_none()
    if row is None:
        return None
    if bytes(row.request_hash) != request_hash:
        metrics.IDEMPOTENCY_CONFLICTS.labels(scope.operation).inc()
        raise Refused(
            "idempotency_key_reused",
            "This key was used for another request before.",
            status=422,
        )
    metrics.IDEMPOTENT_REPLAYS.labels(scope.operation).inc()
    headers = json.loads(row.headers) | {REPLAYED_HEADER: "true"}
    return Answer(row.status, bytes(row.body), headers)


async def _run(unit: Unit, use_case: UseCase, language: Language) -> Answer:
    """A refusal undoes what the use case did; where it decides, it is an answer like any other."""
    try:
        async with unit.savepoint():
            with in_language(language):
                return await use_case(unit)
    except Refused as refusal:
        answer = _answer_of(refusal)
        if not _is_stored(answer):
            raise
        return answer


async def _store(unit: Unit, scope: _Scope, request_hash: bytes, answer: Answer) -> None:
    stored = scope.columns | {
        "request_hash": request_hash,
        "status": answer.status,
        "headers": json.dumps(dict(answer.headers)),
        "body": answer.body,
    }
    await unit.connection.execute(STORE, stored)


def _is_stored(answer: Answer) -> bool:
    """Whether it stays true: who is told to come again must not find yesterday's answer."""
    if RETRY_AFTER_HEADER in answer.headers:
        return False
    return answer.status < 500 and answer.status not in NEVER_STORED


def _answer_of(refusal: Refused) -> Answer:
    response = render(refusal)
    assert response is not None, "every refusal has an answer"
    headers = {name.title(): value for name, value in response.headers.items()}
    headers.pop("Content-Length", None)
    return Answer(refusal.status, bytes(response.body), headers)


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, headers=dict(answer.headers))


def _hash(request: BaseModel | Mapping[str, Any]) -> bytes:
    """Of the meaning, not of the spelling: the order of members makes no difference."""
    plain = json.loads(to_json(request))
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).digest()
