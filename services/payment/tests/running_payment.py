"""Payment's API in this process behind a real socket, on real PostgreSQL and Redis."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx2
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from services.payment.adapters.channels.pace import ChannelPace
from services.payment.adapters.http.order_streams import OrderStreams
from services.payment.adapters.postgres.switch_board import SwitchBoard
from services.payment.domain.channel_notification import RawNotification
from services.payment.settings import ApiSettings
from services.payment.tests.building import CASHIER
from services.payment.tests.world import World
from services.payment.wiring.api import compose_api
from shared.kernel.clock import SystemClock
from shared.kernel.ids import new_id
from shared.runtime.http.server import serve
from shared.runtime.keys.access_token import NamedKey, sign_access_token
from testing.eventually import eventually

Json = dict[str, Any]
LINE_SECONDS = 10


@dataclass(frozen=True)
class OneKey:
    """Identity's keys, as far as this test is concerned."""

    named: NamedKey = field(
        default_factory=lambda: NamedKey("test", ec.generate_private_key(ec.SECP256R1()))
    )

    async def key(self, kid: str) -> ec.EllipticCurvePublicKey | None:
        return self.named.key.public_key() if kid == self.named.kid else None

    def token(self, person_id: UUID) -> str:
        return sign_access_token(
            self.named, insured_person_id=person_id, session_id=new_id(), now=SystemClock().now()
        )


@dataclass(frozen=True, kw_only=True)
class Payment:
    """The running API, and the world whose orders it shows."""

    world: World
    http: httpx2.AsyncClient
    keys: OneKey
    streams: OrderStreams
    switches: SwitchBoard
    stop: asyncio.Event

    def as_person(self, person_id: UUID, **headers: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys.token(person_id)}"} | headers

    async def an_order(self, **fields: Any) -> tuple[UUID, UUID]:
        """An open order and its payer."""
        payer_id = new_id()
        return await self.world.open(payer_id=payer_id, **fields), payer_id

    async def read(self, order_id: UUID, person_id: UUID, **headers: str) -> httpx2.Response:
        return await self.http.get(
            f"/payment/v1/orders/{order_id}", headers=self.as_person(person_id, **headers)
        )

    async def start(
        self,
        order_id: UUID,
        person_id: UUID,
        *,
        channel: str = CASHIER.id,
        method: str = "wap",
        key: str | None = None,
        **more: Any,
    ) -> httpx2.Response:
        """Begin at a cashier."""
        headers = {"Idempotency-Key": key or str(new_id()), **more.pop("headers", {})}
        return await self.http.post(
            f"/payment/v1/orders/{order_id}/attempts",
            headers=self.as_person(person_id, **headers),
            json={"channel": channel, "method": method, **more},
        )

    async def give_up(self, order_id: UUID, attempt_id: str, person_id: UUID) -> httpx2.Response:
        path = f"/payment/v1/orders/{order_id}/attempts/{attempt_id}"
        return await self.http.delete(path, headers=self.as_person(person_id))

    async def notify(self, channel: str, told: RawNotification) -> httpx2.Response:
        """What the channel sends to us."""
        return await self.http.post(
            f"/payment/v1/channels/{channel}/notifications",
            headers=dict(told.headers),
            content=told.body,
        )

    async def ticket(self, order_id: UUID, person_id: UUID) -> str:
        answer = await self.http.post(
            f"/payment/v1/orders/{order_id}/stream-tickets", headers=self.as_person(person_id)
        )
        assert answer.status_code == 201, answer.text
        ticket: str = answer.json()["ticket"]
        return ticket

    @asynccontextmanager
    async def stream(
        self, order_id: UUID, ticket: str, **query: Any
    ) -> AsyncIterator[tuple[httpx2.Response, "Stream"]]:
        async with self.http.stream(
            "GET", f"/payment/v1/orders/{order_id}/events", params={"ticket": ticket, **query}
        ) as response:
            yield response, Stream(response.aiter_lines())


@dataclass(frozen=True)
class Stream:
    """Reads Server-Sent Events."""

    lines: AsyncIterator[str]

    async def next(self) -> dict[str, str]:
        """The fields of the next block; a comment is under the empty name."""
        found: dict[str, str] = {}
        async with asyncio.timeout(LINE_SECONDS):
            async for line in self.lines:
                if not line and found:
                    return found
                name, _, value = line.partition(":")
                found[name] = value.strip()
        return found

    async def event(self) -> tuple[str, Json, dict[str, str]]:
        """The next real event: its name, its data, and all its fields."""
        while True:
            block = await self.next()
            assert block, "the stream ended without an event"
            if "event" in block:
                return block["event"], json.loads(block["data"]), block

    async def is_over(self) -> bool:
        return await self.next() == {}


@asynccontextmanager
async def running_payment(
    world: World, *, redis_url: str, **changes: Any
) -> AsyncIterator[Payment]:
    """The application as the process composes it, served on a free port."""
    keys = OneKey()
    settings = ApiSettings(
        environment="development",
        database_url=SecretStr("postgresql+asyncpg://unused"),
        kafka_bootstrap_servers="127.0.0.1:9",
        redis_url=SecretStr(redis_url),
        identity_url="http://127.0.0.1:9",
        bank_url="http://127.0.0.1:9",
        **changes,
    )
    pace = ChannelPace()
    composed = compose_api(
        settings, world.database, keys, world.clock, channels=world.cashiers, pace=pace
    )
    streams = composed.streams
    server = serve(composed.app, "127.0.0.1", 0)
    stop = asyncio.Event()
    polling = asyncio.create_task(streams.run(stop))
    serving_stop = asyncio.Event()
    serving = asyncio.create_task(server.run(serving_stop))
    await eventually(lambda: server.port > 0)
    try:
        async with httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{server.port}", timeout=LINE_SECONDS, trust_env=False
        ) as http:
            yield Payment(
                world=world,
                http=http,
                keys=keys,
                streams=streams,
                switches=composed.switches,
                stop=stop,
            )
    finally:
        stop.set()
        await polling
        serving_stop.set()
        async with asyncio.timeout(timedelta(seconds=10).total_seconds()):
            await serving
        for close in composed.closing:
            await close()
