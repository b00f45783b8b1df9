"""Who may do what: a matrix over every operation of the OpenAPI documents.

Every id in it exists and belongs to the owner, so that a 404 means "not yours", not "no such".
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from devstack.stack import Stack
from shared.kernel.clock import shanghai_month
from shared.runtime.keys.access_token import SigningKeys, sign_access_token
from shared.runtime.keys.key_files import read_signing_key
from shared.runtime.keys.service_token import sign_service_token
from tests.integration.support.documents import Operation, operations
from tests.integration.support.people import BEIJING, BEIJING_FLOOR_FEN, People, Person, new_phone

# What anybody may call; a new operation without a token must be added here on purpose.
PUBLIC = {
    "POST /identity/v1/sms-codes",
    "POST /identity/v1/sessions",
    "POST /identity/v1/sessions/refresh",
    "GET /identity/v1/.well-known/jwks.json",
    "GET /billing/v1/coverage",
    # Guarded by its single-use ticket instead of a token: EventSource cannot send headers.
    "GET /payment/v1/orders/{order_id}/events",
    # Guarded by its random token: payers come back from a cashier in another browser.
    "GET /payment/v1/returns/{return_token}",
    "POST /payment/v1/returns/{return_token}/asks",
    # Guarded by the channel's signature.
    "POST /payment/v1/channels/{channel}/notifications",
}


@dataclass(frozen=True, slots=True)
class World:
    """Things that exist and whose they are."""

    owner: Person
    other: Person
    contribution_id: str
    payment_order_id: str
    attempt_id: str
    ids: frozenset[str]


@pytest.fixture
async def world(people: People) -> World:
    owner, other = await people.logged_in(), await people.logged_in()
    contribution = await owner.assess()
    order = await owner.pay(contribution["id"])
    await owner.until_status(contribution["id"], "paid")
    paid = await owner.get(f"/payment/v1/orders/{order['payment_order_id']}")
    attempt_id = paid["attempts"][0]["id"]
    ids = {str(owner.id), contribution["id"], order["payment_order_id"], attempt_id}
    return World(
        owner=owner,
        other=other,
        contribution_id=contribution["id"],
        payment_order_id=order["payment_order_id"],
        attempt_id=attempt_id,
        ids=frozenset(ids),
    )


async def test_only_the_listed_operations_are_public(stack: Stack) -> None:
    found = {op.name for op in await operations(stack) if op.guard == "public"}

    assert found == PUBLIC


async def test_nobody_but_the_owner_sees_or_moves_what_is_theirs(
    stack: Stack, world: World
) -> None:
    # What ends the session goes last.
    guarded = sorted(
        (op for op in await operations(stack) if op.guard == "person"),
        key=lambda op: op.method == "delete",
    )
    assert guarded

    for operation in guarded:
        answers = {
            name: await _call(stack, world, operation, token)
            for name, token in _tokens(stack, world).items()
        }
        for name in ("none", "expired", "wrong audience", "foreign key", "damaged", "service"):
            assert answers[name].status_code == 401, (operation.name, name, answers[name].text)
        _assert_no_leak(operation, answers["other"], world)
        if operation.parameters:
            assert answers["other"].status_code == 404, (operation.name, answers["other"].text)
        if operation.method == "get":
            assert answers["owner"].status_code == 200, (operation.name, answers["owner"].text)
    # The owner's session and money are as they were.
    assert (await world.owner.contribution(world.contribution_id))["status"] == "paid"


async def test_internal_operations_take_only_the_tokens_of_services(
    stack: Stack, world: World, http: httpx2.AsyncClient
) -> None:
    internal = [op for op in await operations(stack) if op.guard == "service"]
    assert [op.name for op in internal] == [
        "GET /identity/v1/internal/contacts/{insured_person_id}"
    ]

    for operation in internal:
        assert "/internal/" in operation.path
        for name, token in _tokens(stack, world).items():
            answer = await _call(stack, world, operation, token)
            assert (answer.status_code == 200) == (name == "service"), (name, answer.text)
        for audience in ("billing", "songhe", "payment"):
            answer = await _call(stack, world, operation, _service_token(stack, audience))
            assert answer.status_code == 401, (audience, answer.text)
        through_entry = await http.get(
            _path(operation, world),
            headers={"Authorization": f"Bearer {_service_token(stack, 'identity')}"},
        )
        assert through_entry.status_code == 404


async def test_an_order_of_somebody_else_looks_like_one_that_is_not_known_yet(
    world: World,
) -> None:
    theirs = await world.other.call("GET", f"/payment/v1/orders/{world.payment_order_id}")
    unknown = await world.other.call("GET", f"/payment/v1/orders/{uuid.uuid4()}")

    assert theirs.status_code == unknown.status_code == 404
    assert theirs.content == unknown.content
    assert theirs.headers["Retry-After"] == unknown.headers["Retry-After"] == "1"


async def test_a_stream_ticket_opens_one_stream_of_one_order_once(
    world: World, people: People
) -> None:
    second = people.somebody()
    contribution = await second.assess()
    order = (await second.pay(contribution["id"]))["payment_order_id"]
    await second.until_status(contribution["id"], "paid")
    path = f"/payment/v1/orders/{order}"
    ticket = (await second.call("POST", f"{path}/stream-tickets")).json()["ticket"]

    for_another_order = await world.other.http.get(
        f"/payment/v1/orders/{world.payment_order_id}/events", params={"ticket": ticket}
    )
    fresh = (await second.call("POST", f"{path}/stream-tickets")).json()["ticket"]
    first = await world.other.http.get(f"{path}/events", params={"ticket": fresh})
    again = await world.other.http.get(f"{path}/events", params={"ticket": fresh})

    assert for_another_order.status_code in (401, 403, 404)
    assert first.status_code == 200
    assert again.status_code in (401, 403, 404)


async def _call(
    stack: Stack, world: World, operation: Operation, token: str | None
) -> httpx2.Response:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    async with httpx2.AsyncClient(
        base_url=stack.urls[operation.service], timeout=15.0, trust_env=False
    ) as client:
        return await client.request(
            operation.method.upper(),
            _path(operation, world),
            headers=headers,
            json=_body(operation) if operation.has_body else None,
        )


def _path(operation: Operation, world: World) -> str:
    known = {
        "contribution_id": world.contribution_id,
        "order_id": world.payment_order_id,
        "attempt_id": world.attempt_id,
        "insured_person_id": str(world.owner.id),
    }
    return operation.path.format(**{name: known[name] for name in operation.parameters})


def _body(operation: Operation) -> dict[str, Any]:
    if operation.name == "POST /billing/v1/contributions":
        return {
            "scheme": "flexible",
            "region": BEIJING,
            "period": shanghai_month(datetime.now(UTC)),
            "base_fen": BEIJING_FLOOR_FEN,
        }
    return {
        "POST /identity/v1/sms-codes": {"phone": new_phone(), "purpose": "login"},
        "POST /payment/v1/orders/{order_id}/attempts": {"channel": "alipay", "method": "wap"},
    }.get(operation.name, {})


def _assert_no_leak(operation: Operation, answer: httpx2.Response, world: World) -> None:
    leaked = [one for one in world.ids if one in answer.text]
    # What the caller sent in the path may come back in `instance`; facts may not.
    leaked = [one for one in leaked if one not in answer.request.url.path]
    assert not leaked, (operation.name, answer.text)
    assert answer.status_code < 500


def _tokens(stack: Stack, world: World) -> dict[str, str | None]:
    folder = Path(stack.environment_for("identity", "api")["SONGHE_ACCESS_TOKEN_KEYS_DIR"])
    keys = SigningKeys(folder).newest
    now = datetime.now(UTC)
    owners = partial(sign_access_token, insured_person_id=world.owner.id, session_id=uuid.uuid4())
    foreign = read_signing_key(
        Path(stack.environment_for("billing", "api")["SONGHE_SERVICE_KEY_FILE"])
    )
    header, claims, signature = world.owner.token.split(".")
    return {
        "none": None,
        "expired": owners(keys, now=now - timedelta(hours=1)),
        "wrong audience": _service_token(stack, "somebody"),
        "foreign key": owners(keys._replace(key=foreign), now=now),
        "damaged": f"{header}.{claims}.{signature[::-1]}",
        "service": _service_token(stack, "identity"),
        "other": world.other.token,
        "owner": world.owner.token,
    }


def _service_token(stack: Stack, audience: str) -> str:
    file = Path(stack.environment_for("notifier", "worker")["SONGHE_SERVICE_KEY_FILE"])
    return sign_service_token(read_signing_key(file), issuer="notifier", audience=audience)
