"""Contacts from identity, kept for a few minutes in Redis, sealed.

Redis may vanish at any time: then identity is asked each time.
"""

import asyncio
from uuid import UUID

import httpx2
import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.notifier.adapters.metrics import CONTACT_LOOKUPS
from shared.kernel.errors import Unavailable
from shared.runtime.ground import crash_points, redis_client
from shared.runtime.keys.sealing import CannotOpen, Sealer
from shared.runtime.keys.service_token import ServiceSigner

PATH = "/identity/v1/internal/contacts"
DEADLINE_SECONDS = 3.0
CONNECT_SECONDS = 1.0
CONNECTIONS = 8
# A changed number must take effect soon; a burst of news to one person asks once.
CACHE_SECONDS = 300
KEY_PREFIX = "notifier:contact:"
REDIS_TIMEOUT_SECONDS = 0.5

log = structlog.get_logger(__name__)


class Reply(msgspec.Struct):
    """What identity answers."""

    insured_person_id: UUID
    phone: str


_decoder = msgspec.json.Decoder(Reply)


class IdentityContacts:
    """The port `Contacts`."""

    def __init__(
        self,
        identity_url: str,
        *,
        signer: ServiceSigner,
        redis: Redis,
        sealer: Sealer,
        connections: int = CONNECTIONS,
    ) -> None:
        self._client = httpx2.AsyncClient(
            base_url=identity_url,
            timeout=httpx2.Timeout(DEADLINE_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=connections),
            trust_env=False,
        )
        self._signer = signer
        self._redis = redis
        self._sealer = sealer

    async def phone_of(self, person_id: UUID) -> str | None:
        crash_points.reach("sms.after_claim_before_submit")
        cached = await self._cached(person_id)
        if cached is not None:
            CONTACT_LOOKUPS.labels("cache").inc()
            return cached
        phone = await self._asked(person_id)
        CONTACT_LOOKUPS.labels("identity").inc()
        if phone is not None:
            await self._remember(person_id, phone)
        return phone

    async def close(self) -> None:
        await self._client.aclose()

    async def _asked(self, person_id: UUID) -> str | None:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                response = await self._client.get(
                    f"{PATH}/{person_id}", headers=self._signer.authorization("identity")
                )
        except (httpx2.HTTPError, TimeoutError, OSError) as error:
            raise _unavailable(type(error).__name__) from error
        if response.status_code == 404:
            return None
        if not response.is_success:
            raise _unavailable(f"status {response.status_code}")
        try:
            reply = _decoder.decode(response.content)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _unavailable("unreadable") from error
        if reply.insured_person_id != person_id:
            raise _unavailable("somebody else")
        return reply.phone

    async def _cached(self, person_id: UUID) -> str | None:
        try:
            sealed = await self._redis.get(_key(person_id))
            if sealed is None:
                return None
            assert isinstance(sealed, bytes)
            return self._sealer.open(sealed, person_id.bytes).decode()
        except (RedisError, OSError, TimeoutError, CannotOpen) as error:
            log.info("contact_cache_missed", error=type(error).__name__)
            return None

    async def _remember(self, person_id: UUID, phone: str) -> None:
        sealed = self._sealer.seal(phone.encode(), person_id.bytes)
        try:
            await self._redis.set(_key(person_id), sealed, ex=CACHE_SECONDS)
        except (RedisError, OSError, TimeoutError) as error:
            log.info("contact_not_cached", error=type(error).__name__)


def open_redis(url: str, *, connections: int = CONNECTIONS) -> Redis:
    """A lazy client that gives up fast: it only saves a call."""
    return redis_client.open_redis(
        url, connections=connections, timeout_seconds=REDIS_TIMEOUT_SECONDS
    )


def _key(person_id: UUID) -> str:
    return f"{KEY_PREFIX}{person_id}"


def _unavailable(why: str) -> Unavailable:
    log.warning("contact_unavailable", why=why)
    return Unavailable("contact_unavailable", "identity gives no contact at the moment")
