"""The same rules for every request: nothing wrong gets in, no fault gets out unexplained."""

from collections.abc import AsyncIterator, Iterator, MutableMapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI, Query
from pydantic import Field
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy.exc import OperationalError
from starlette.responses import StreamingResponse
from structlog.testing import capture_logs

from shared.kernel.errors import Contradiction, LostGuard, Malformed, Refused, Unavailable
from shared.runtime.ground.metrics import REGISTRY
from shared.runtime.http.edge import OPEN_QUERY
from shared.runtime.http.web import (
    Correlation,
    IdempotencyKey,
    Person,
    Strict,
    build_app,
    require_role,
    require_service,
)
from shared.runtime.keys.access_token import AccessTokens, SigningKeys, sign_access_token
from shared.runtime.keys.service_token import ServiceTokens, sign_service_token
from shared.tests.signing_keys import new_key, public_pem, write_signing_key

BILLING = new_key()
PAYMENT = new_key()
JSON = {"Content-Type": "application/json"}


class Part(Strict):
    name: str


class Thing(Strict):
    name: str
    count: Annotated[int, Field(ge=0, le=10**12)] = 0
    parts: tuple[Part, ...] = ()


FAULTS: dict[str, Exception] = {
    "refused": Refused("already_paid", "It is paid.", extra={"order": "42"}),
    "later": Refused("too_many", "Wait.", status=429, extra={"retry_after_seconds": 60}),
    "unavailable": Unavailable("sms_unavailable", "No SMS.", retry_after_seconds=7),
    "malformed": Malformed("no such month"),
    "contradiction": Contradiction("order 42 of 13800138000 is settled and failed"),
    "database": OperationalError("SELECT 1", {}, OSError("refused")),
    "redis": RedisConnectionError("secret-host:6379"),
    "timeout": TimeoutError(),
    "lost_guard": LostGuard("secret_table", wanted=2, saved=1),
    "bug": ZeroDivisionError("secret detail"),
    "group": ExceptionGroup("secret detail", [ValueError("inner")]),
}

router = APIRouter(prefix="/demo/v1")


@router.get("/things/{thing_id}")
async def read_thing(
    thing_id: UUID, person: Person, size: Annotated[int, Query(ge=1, le=10)] = 1
) -> dict[str, str]:
    return {"thing": str(thing_id), "person": str(person.insured_person_id)}


@router.post("/things", status_code=201)
async def create_thing(thing: Thing, correlation_id: Correlation) -> dict[str, str]:
    return {"name": thing.name, "correlation_id": str(correlation_id)}


@router.get("/things")
async def list_things() -> dict[str, list[str]]:
    return {"items": []}


@router.get("/ways-back", openapi_extra={OPEN_QUERY: True})
async def come_back() -> dict[str, str]:
    return {}


@router.post("/orders")
async def create_order(thing: Thing, key: IdempotencyKey) -> dict[str, str]:
    return {"key": key}


@router.get("/faults/{name}")
async def fail(name: str) -> None:
    raise FAULTS[name]


@router.get("/operators")
async def for_operators(
    person: Annotated[object, Depends(require_role("operator"))],
) -> dict[str, str]:
    return {}


@router.get("/internal/contacts")
async def for_services(caller: Annotated[str, Depends(require_service("billing"))]) -> str:
    return caller


@router.get("/watch")
async def watch() -> StreamingResponse:
    async def events() -> AsyncIterator[str]:
        yield "data: 1\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


@pytest.fixture(autouse=True)
def log_lines() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def keys(tmp_path: Path) -> SigningKeys:
    write_signing_key(tmp_path / "2026.pem")
    return SigningKeys(tmp_path)


@pytest.fixture
def app(keys: SigningKeys, tmp_path: Path) -> FastAPI:
    folder = tmp_path / "callers"
    folder.mkdir()
    (folder / "billing.pem").write_bytes(public_pem(BILLING))
    (folder / "payment.pem").write_bytes(public_pem(PAYMENT))
    return build_app(
        "demo",
        router=router,
        access_tokens=AccessTokens(keys),
        service_tokens=ServiceTokens(folder, audience="demo"),
    )


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://demo.test") as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def a_token(keys: SigningKeys, **changed: Any) -> str:
    arguments: dict[str, Any] = {
        "insured_person_id": uuid4(),
        "session_id": uuid4(),
        "now": datetime.now(UTC),
    }
    return sign_access_token(keys.newest, **arguments | changed)


def check_problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert problem["status"] == status
    assert problem["type"] == f"urn:songhe:problem:{code}"
    assert problem["title"]
    assert problem["detail"]
    return problem


async def test_a_person_with_a_token_is_known(
    client: httpx2.AsyncClient, keys: SigningKeys
) -> None:
    person = uuid4()
    headers = bearer(a_token(keys, insured_person_id=person))

    answer = await client.get(f"/demo/v1/things/{uuid4()}", headers=headers)

    assert answer.status_code == 200
    assert answer.json()["person"] == str(person)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic YTpi"}, {"Authorization": ""}])
async def test_without_a_token_nobody_is_known(
    client: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    answer = await client.get(f"/demo/v1/things/{uuid4()}", headers=headers)

    check_problem(answer, 401, "token_missing")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_an_expired_token_is_told_apart_from_a_damaged_one(
    client: httpx2.AsyncClient, keys: SigningKeys
) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    path = f"/demo/v1/things/{uuid4()}"

    expired = await client.get(path, headers=bearer(a_token(keys, now=yesterday)))
    damaged = await client.get(path, headers=bearer("damaged"))

    check_problem(expired, 401, "token_expired")
    check_problem(damaged, 401, "token_invalid")
    assert damaged.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_a_role_is_needed_where_it_is_asked_for(
    client: httpx2.AsyncClient, keys: SigningKeys
) -> None:
    without = await client.get("/demo/v1/operators", headers=bearer(a_token(keys)))
    operator = bearer(a_token(keys, roles=["operator"]))
    allowed = await client.get("/demo/v1/operators", headers=operator)

    check_problem(without, 403, "role_missing")
    assert allowed.status_code == 200


async def test_internal_addresses_take_only_the_services_they_name(
    client: httpx2.AsyncClient, keys: SigningKeys
) -> None:
    async def ask(token: str) -> httpx2.Response:
        return await client.get("/demo/v1/internal/contacts", headers=bearer(token))

    allowed = await ask(sign_service_token(BILLING, "billing", "demo"))
    other_service = await ask(sign_service_token(PAYMENT, "payment", "demo"))
    other_callee = await ask(sign_service_token(BILLING, "billing", "identity"))
    person = await ask(a_token(keys))
    nobody = await client.get("/demo/v1/internal/contacts")

    assert allowed.json() == "billing"
    check_problem(other_service, 403, "caller_not_allowed")
    check_problem(other_callee, 401, "token_invalid")
    check_problem(person, 401, "token_invalid")
    check_problem(nobody, 401, "token_missing")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/demo/v1/things/", 404, "not_found"),
        ("GET", "/demo/v1//things", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("PATCH", "/demo/v1/things", 405, "method_not_allowed"),
        ("TRACE", "/demo/v1/things", 405, "method_not_allowed"),
        ("GET", "/demo/v1/things?size=1", 400, "unknown_parameter"),
        ("GET", "/demo/v1/faults/a%00b", 422, "invalid_request"),
    ],
)
async def test_what_the_document_does_not_know_is_refused(
    client: httpx2.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await client.request(method, path)

    check_problem(answer, status, code)


async def test_an_open_query_takes_what_others_append(client: httpx2.AsyncClient) -> None:
    appended = await client.get("/demo/v1/ways-back?sign=x&total_amount=0.01")
    unreadable = await client.get("/demo/v1/ways-back?" + "&".join(f"a{i}=1" for i in range(51)))

    assert appended.status_code == 200
    check_problem(unreadable, 400, "malformed_request")


async def test_a_wrong_method_is_told_every_right_one(client: httpx2.AsyncClient) -> None:
    answer = await client.delete("/demo/v1/things")

    assert answer.headers["allow"] == "GET, POST"


@pytest.mark.parametrize("query", ["size=0", "size=x", "size=1%00", "size=1&name=x", "size"])
async def test_wrong_query_parameters_are_refused(
    client: httpx2.AsyncClient, keys: SigningKeys, query: str
) -> None:
    path = f"/demo/v1/things/{uuid4()}?{query}"

    answer = await client.get(path, headers=bearer(a_token(keys)))

    assert answer.status_code in (400, 422)
    check_problem(answer, answer.status_code, answer.json()["code"])


async def test_a_malformed_id_is_refused(client: httpx2.AsyncClient, keys: SigningKeys) -> None:
    answer = await client.get("/demo/v1/things/17", headers=bearer(a_token(keys)))

    problem = check_problem(answer, 422, "invalid_request")
    assert problem["errors"][0]["location"] == "path.thing_id"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "invalid_request"),
        (b"null", 422, "invalid_request"),
        (b"[]", 422, "invalid_request"),
        (b"{", 400, "malformed_json"),
        (b'{"name": "\x00"}', 400, "malformed_json"),
        (b'{"name": "\xff"}', 400, "malformed_request"),
        (b'{"name": "\xed\xa0\x80"}', 422, "invalid_request"),
        (b'{"name": "a\\u0000b"}', 422, "invalid_request"),
        (b'{"name": "\\ud800"}', 422, "invalid_request"),
        (b'{"name": "a", "\\ud800": 1}', 422, "invalid_request"),
        (b'{"name": "a", "more": 1}', 422, "invalid_request"),
        (b'{"name": 1}', 422, "invalid_request"),
        (b'{"name": "a", "count": "many"}', 422, "invalid_request"),
        (b'{"name": "a", "count": NaN}', 422, "invalid_request"),
        (b'{"name": "a", "count": 1e999}', 422, "invalid_request"),
        (b'{"name": "a", "count": 99999999999999999999999}', 422, "invalid_request"),
        (b'{"name": "a", "count": ' + b"9" * 5000 + b"}", 400, "malformed_request"),
        (b'{"name": "a", "parts": [{"name": "a", "more": 1}]}', 422, "invalid_request"),
        (b'{"name": "a", "parts": [{"name": "\\u0000"}]}', 422, "invalid_request"),
        (b"[" * 60_000, 400, "malformed_request"),
        (b'{"a":' * 10_000, 400, "malformed_request"),
        (b'{"name":' + b"[" * 900 + b"]" * 900 + b"}", 422, "invalid_request"),
        (b" " * (64 * 1024 + 1), 413, "body_too_large"),
    ],
)
async def test_no_body_makes_us_fail(
    client: httpx2.AsyncClient, body: bytes, status: int, code: str
) -> None:
    answer = await client.post("/demo/v1/things", content=body, headers=JSON)

    check_problem(answer, status, code)


async def test_a_body_of_64_kib_is_accepted_and_one_byte_more_is_not(
    client: httpx2.AsyncClient,
) -> None:
    padding = 64 * 1024 - len('{"name": ""}')

    fitting = await client.post(
        "/demo/v1/things", content=b'{"name": "%s"}' % (b"a" * padding), headers=JSON
    )
    larger = await client.post(
        "/demo/v1/things", content=b'{"name": "%s"}' % (b"a" * (padding + 1)), headers=JSON
    )

    assert fitting.status_code == 201
    check_problem(larger, 413, "body_too_large")


async def test_a_streamed_body_is_counted_while_it_comes(client: httpx2.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10 * 1024 * 1024:
            sent += 8192
            yield b" " * 8192

    answer = await client.post("/demo/v1/things", content=endless(), headers=JSON)

    check_problem(answer, 413, "body_too_large")


@pytest.mark.parametrize("media_type", ["text/plain", "application/xml", "multipart/form-data"])
async def test_only_json_is_a_body(client: httpx2.AsyncClient, media_type: str) -> None:
    headers = {"Content-Type": media_type}

    answer = await client.post("/demo/v1/things", content=b'{"name": "a"}', headers=headers)

    check_problem(answer, 415, "media_type_not_supported")


@pytest.mark.parametrize(
    ("name", "status", "code", "retry_after"),
    [
        ("refused", 409, "already_paid", None),
        ("later", 429, "too_many", "60"),
        ("unavailable", 503, "sms_unavailable", "7"),
        ("malformed", 400, "malformed", None),
        ("contradiction", 409, "contradiction", None),
        ("database", 503, "unavailable", "5"),
        ("redis", 503, "unavailable", "5"),
        ("timeout", 503, "unavailable", "5"),
        ("lost_guard", 500, "internal_error", None),
        ("bug", 500, "internal_error", None),
        ("group", 500, "internal_error", None),
    ],
)
async def test_every_error_has_its_problem(
    client: httpx2.AsyncClient, name: str, status: int, code: str, retry_after: str | None
) -> None:
    answer = await client.get(f"/demo/v1/faults/{name}")

    check_problem(answer, status, code)
    assert answer.headers.get("retry-after") == retry_after
    assert "secret" not in answer.text
    assert "13800138000" not in answer.text


async def test_a_refusal_tells_its_further_members(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/demo/v1/faults/refused")

    assert answer.json()["order"] == "42"


@pytest.mark.parametrize("fault", ["bug", "lost_guard"])
async def test_a_fault_of_ours_is_logged_once_with_its_trace(
    client: httpx2.AsyncClient, log_lines: list[MutableMapping[str, Any]], fault: str
) -> None:
    await client.get(f"/demo/v1/faults/{fault}")

    failed = [line for line in log_lines if line["log_level"] == "error"]
    assert [line["event"] for line in failed] == ["request_failed"]
    assert failed[0]["exc_info"] is FAULTS[fault]


@pytest.mark.parametrize("key", ["", "a b", "ü", "a" * 256, "a\tb"])
async def test_an_unusable_idempotency_key_is_refused(client: httpx2.AsyncClient, key: str) -> None:
    headers = {b"Idempotency-Key": key.encode("latin-1"), b"Content-Type": b"application/json"}

    answer = await client.post("/demo/v1/orders", content=b'{"name": "a"}', headers=headers)

    check_problem(answer, 400, "idempotency_key_invalid")


async def test_a_missing_idempotency_key_is_refused(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/demo/v1/orders", json={"name": "a"})

    check_problem(answer, 400, "idempotency_key_missing")


async def test_the_correlation_id_is_the_callers_or_a_new_one(client: httpx2.AsyncClient) -> None:
    given = str(uuid4())

    kept = await client.post(
        "/demo/v1/things", json={"name": "a"}, headers={"X-Correlation-Id": given}
    )
    made = await client.post(
        "/demo/v1/things", json={"name": "a"}, headers={"X-Correlation-Id": "<script>"}
    )

    assert kept.headers["x-correlation-id"] == kept.json()["correlation_id"] == given
    assert UUID(made.headers["x-correlation-id"]) == UUID(made.json()["correlation_id"])


async def test_every_answer_is_kept_out_of_caches(client: httpx2.AsyncClient) -> None:
    for path in ("/demo/v1/things", "/nowhere", "/demo/v1/faults/bug"):
        answer = await client.get(path)

        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_the_access_log_has_no_query(
    client: httpx2.AsyncClient, log_lines: list[MutableMapping[str, Any]]
) -> None:
    await client.get(f"/demo/v1/things/{uuid4()}?size=7&ticket=secret-ticket")
    await client.get("/13800138000")

    requests = [line for line in log_lines if line["event"] == "request"]
    assert [line["status"] for line in requests] == [400, 404]
    assert "secret-ticket" not in str(requests)
    assert "13800138000" not in str(requests)


async def test_metrics_have_templates_and_no_paths(client: httpx2.AsyncClient) -> None:
    await client.get(f"/demo/v1/things/{uuid4()}")
    await client.request("BREW", "/coffee")
    await client.get("/demo/v1/watch")

    series = {
        (sample.labels["route"], sample.labels["method"], sample.labels["code"])
        for metric in REGISTRY.collect()
        if metric.name == "songhe_http_request_seconds"
        for sample in metric.samples
    }
    assert ("/demo/v1/things/{thing_id}", "GET", "401") in series
    assert ("unmatched", "*", "404") in series
    assert ("/demo/v1/watch", "GET", "200") in series
    assert not any("coffee" in route or method == "BREW" for route, method, _ in series)


async def test_the_document_describes_problems_and_both_kinds_of_token(
    client: httpx2.AsyncClient,
) -> None:
    document = (await client.get("/demo/v1/openapi.json")).json()

    assert set(document["components"]["securitySchemes"]) == {"person", "service"}
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for item in document["paths"].values():
        for operation in item.values():
            for status, answer in operation["responses"].items():
                if status == "default" or int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"]
    internal = document["paths"]["/demo/v1/internal/contacts"]["get"]
    assert internal["security"] == [{"service": []}]


async def test_the_document_is_there_before_the_first_request() -> None:
    app = build_app("demo", router=router)
    told = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[str] = []

    async def receive() -> MutableMapping[str, Any]:
        return told.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan", "state": {}}, receive, send)

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert app.openapi_schema is not None
