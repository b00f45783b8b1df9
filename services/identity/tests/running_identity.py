"""Identity's API in this process, on real PostgreSQL and Redis, with the real sandbox for SMS."""

import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx2
from fastapi import FastAPI
from pydantic import SecretStr
from redis.asyncio import Redis

from services.identity.settings import ApiSettings
from services.identity.wiring.api import compose_api
from shared.kernel.clock import Clock, SystemClock
from shared.runtime.database.database import Database, open_database
from shared.runtime.database.statements import text
from shared.runtime.keys.key_files import read_signing_key
from shared.runtime.keys.service_token import sign_service_token

PREFIX = "/identity/v1"
CONNECTIONS = 2

Json = dict[str, Any]


def new_phone() -> str:
    """A number that no other test has."""
    return f"+86138{secrets.randbelow(10**8):08}"


def api_settings(keys: Path, *, database_url: str, redis_url: str, sms_url: str) -> ApiSettings:
    """Development settings with the keys that the development stack makes."""
    return ApiSettings(
        environment="development",
        database_url=SecretStr(database_url),
        kafka_bootstrap_servers="127.0.0.1:9",
        redis_url=SecretStr(redis_url),
        access_token_keys_dir=keys / "access-tokens",
        phone_encryption_keys_dir=keys / "phone-encryption",
        phone_index_key_file=keys / "phone-index.key",
        sms_code_key_file=keys / "sms-code.key",
        service_public_keys_dir=keys / "callers" / "identity",
        sms_url=sms_url,
        sms_per_address_hourly_max=1000,
    )


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The running API and what stands around it."""

    app: FastAPI
    http: httpx2.AsyncClient
    database: Database
    redis: Redis
    sandbox: httpx2.AsyncClient
    keys: Path

    async def ask(self, phone: str, **headers: str) -> httpx2.Response:
        return await self.http.post(
            f"{PREFIX}/sms-codes", json={"phone": phone, "purpose": "login"}, headers=headers
        )

    async def asked(self, phone: str) -> tuple[str, str]:
        """The request id and the code, after the SMS was sent."""
        answer = await self.ask(phone)
        assert answer.status_code == 202, answer.text
        return answer.json()["request_id"], await self.code_sent_to(phone)

    async def enter(self, request_id: str, code: str) -> httpx2.Response:
        return await self.http.post(
            f"{PREFIX}/sessions", json={"request_id": request_id, "code": code}
        )

    async def logged_in(self, phone: str | None = None) -> Json:
        answer = await self.enter(*await self.asked(phone or new_phone()))
        assert answer.status_code == 201, answer.text
        session: Json = answer.json()
        return session

    async def refresh(self, refresh_token: str) -> httpx2.Response:
        return await self.http.post(
            f"{PREFIX}/sessions/refresh", json={"refresh_token": refresh_token}
        )

    async def me(self, session: Mapping[str, Any]) -> httpx2.Response:
        return await self.http.get(f"{PREFIX}/me", headers=bearer(session["access_token"]))

    async def log_out(self, session: Mapping[str, Any]) -> httpx2.Response:
        return await self.http.delete(
            f"{PREFIX}/sessions/current", headers=bearer(session["access_token"])
        )

    async def contact(self, person_id: str, token: str) -> httpx2.Response:
        return await self.http.get(f"{PREFIX}/internal/contacts/{person_id}", headers=bearer(token))

    def service_token(self, caller: str, audience: str = "identity") -> str:
        key = read_signing_key(self.keys / "services" / f"{caller}.pem")
        return sign_service_token(key, caller, audience)

    async def messages_to(self, phone: str) -> list[Json]:
        answer = await self.sandbox.get("/sandbox/v1/sms", params={"phone": phone})
        items: list[Json] = answer.json()["items"]
        return items

    async def code_sent_to(self, phone: str) -> str:
        """The code in the newest SMS."""
        messages = sorted(await self.messages_to(phone), key=lambda found: str(found["sent_at"]))
        found = re.search(r"\d{6}", messages[-1]["text"])
        assert found is not None
        return found.group()

    async def fault(self, kind: str, **changes: object) -> None:
        answer = await self.sandbox.post(
            "/sandbox/v1/faults", json={"target": "sms", "kind": kind, **changes}
        )
        assert answer.is_success, answer.text

    async def let_pass(self, seconds: float) -> None:
        """Date every SMS that was counted back, as if so much time had passed."""
        async for key in self.redis.scan_iter("identity:sms-by-*"):
            for member in await self.redis.zrange(key, 0, -1):
                await self.redis.zincrby(key, -seconds * 1000, cast("bytes", member))

    async def rows(self, statement: str, **values: object) -> list[Any]:
        async with self.database.transaction() as unit:
            return list((await unit.connection.execute(text(statement), values)).all())


@asynccontextmanager
async def running_identity(
    settings: ApiSettings,
    *,
    redis: Redis,
    sandbox: httpx2.AsyncClient,
    keys: Path,
    clock: Clock | None = None,
) -> AsyncIterator[Identity]:
    """The application as the process composes it, called without a network in between."""
    clock = clock or SystemClock()
    url = settings.database_url.get_secret_value()
    database = open_database(url, source="identity", pool_size=CONNECTIONS, clock=clock)
    app, closing = compose_api(settings, database, clock)
    transport = httpx2.ASGITransport(app=app, client=("127.0.0.1", 50_000))
    try:
        async with httpx2.AsyncClient(transport=transport, base_url="http://identity") as http:
            yield Identity(
                app=app, http=http, database=database, redis=redis, sandbox=sandbox, keys=keys
            )
    finally:
        for close in (*closing, database.close):
            await close()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def other_code(code: str) -> str:
    """A wrong one."""
    return f"{(int(code) + 1) % 10**6:06}"
