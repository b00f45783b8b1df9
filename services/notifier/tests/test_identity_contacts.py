"""Contacts: asked with a service token, cached sealed, and never a reason to lose an SMS."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.notifier.adapters.identity.contacts import IdentityContacts, open_redis
from shared.kernel.errors import Unavailable
from shared.kernel.ids import new_id
from shared.runtime.http.server import serve
from shared.runtime.keys.sealing import Sealer
from shared.runtime.keys.service_token import ServiceSigner, ServiceTokens
from testing.eventually import eventually

PERSON = new_id()
PHONE = "+8613800138000"
SEALER = Sealer.from_keys({"test": bytes(32)})


class Identity:
    """Speaks identity's contact endpoint; what it answers is set by the test."""

    def __init__(self, public_keys: Path) -> None:
        self.calls = 0
        self.answer: Callable[[UUID], Response] = _known
        self._tokens = ServiceTokens(public_keys, audience="identity")

    async def read(self, request: Request) -> Response:
        self.calls += 1
        token = request.headers["authorization"].removeprefix("Bearer ")
        assert self._tokens.verify(token) == "notifier"
        return self.answer(UUID(request.path_params["person_id"]))


def _known(person_id: UUID) -> Response:
    return JSONResponse({"insured_person_id": str(person_id), "phone": PHONE})


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    file = tmp_path / "private" / "notifier.pem"
    file.parent.mkdir()
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public = tmp_path / "public"
    public.mkdir()
    (public / "notifier.pem").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return file


@asynccontextmanager
async def _running(identity: Identity) -> AsyncIterator[str]:
    app = Starlette(routes=[Route("/identity/v1/internal/contacts/{person_id}", identity.read)])
    server = serve(app, "127.0.0.1", 0)
    stopping = asyncio.Event()
    running = asyncio.create_task(server.run(stopping))
    await eventually(lambda: server.port != 0)
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        stopping.set()
        await running


@pytest.fixture
async def identity(key_file: Path) -> Identity:
    return Identity(key_file.parent.parent / "public")


@pytest.fixture
async def contacts(
    identity: Identity, key_file: Path, redis_url: str
) -> AsyncIterator[IdentityContacts]:
    redis = open_redis(redis_url)
    async with _running(identity) as url:
        found = IdentityContacts(
            url, signer=ServiceSigner(key_file, service="notifier"), redis=redis, sealer=SEALER
        )
        yield found
        await found.close()
    await redis.aclose()


async def test_a_contact_is_asked_once_and_cached_sealed(
    contacts: IdentityContacts, identity: Identity, redis: Redis
) -> None:
    found = [await contacts.phone_of(PERSON) for _ in range(3)]

    assert found == [PHONE] * 3
    assert identity.calls == 1
    (key,) = await redis.keys()
    value = await redis.get(key)
    assert isinstance(value, bytes)
    assert PHONE.encode() not in value
    assert b"13800138000" not in value
    assert 0 < await redis.ttl(key) <= 300


async def test_a_cached_value_of_somebody_else_is_not_believed(
    contacts: IdentityContacts, identity: Identity, redis: Redis
) -> None:
    await contacts.phone_of(PERSON)
    (key,) = await redis.keys()
    other = new_id()
    await redis.set(f"notifier:contact:{other}", await redis.get(key) or b"")

    assert await contacts.phone_of(other) == PHONE
    assert identity.calls == 2


async def test_somebody_unknown_has_no_phone(
    contacts: IdentityContacts, identity: Identity
) -> None:
    identity.answer = lambda _: JSONResponse({"code": "person_unknown"}, status_code=404)

    assert await contacts.phone_of(PERSON) is None


@pytest.mark.parametrize(
    "answer",
    [
        JSONResponse({}, status_code=503),
        JSONResponse({}, status_code=401),
        JSONResponse({"insured_person_id": str(new_id()), "phone": PHONE}),
        JSONResponse({"phone": PHONE}),
        Response(b"\xff"),
    ],
    ids=["down", "token refused", "somebody else", "incomplete", "not json"],
)
async def test_an_answer_that_cannot_be_used_means_ask_later(
    contacts: IdentityContacts, identity: Identity, answer: Response
) -> None:
    identity.answer = lambda _: answer

    with pytest.raises(Unavailable):
        await contacts.phone_of(PERSON)


async def test_without_redis_identity_is_asked_each_time(
    identity: Identity, key_file: Path
) -> None:
    redis = open_redis("redis://127.0.0.1:9/0")
    async with _running(identity) as url:
        contacts = IdentityContacts(
            url, signer=ServiceSigner(key_file, service="notifier"), redis=redis, sealer=SEALER
        )
        found = [await contacts.phone_of(PERSON) for _ in range(2)]
        await contacts.close()
    await redis.aclose()

    assert found == [PHONE] * 2
    assert identity.calls == 2
