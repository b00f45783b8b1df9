"""Tickets for live status: one use, one minute, kept in Redis as a hash only.

EventSource cannot send headers, so the ticket travels in the query; whoever reads Redis or finds
a ticket in some log afterwards can do nothing with it. A ticket is a random value and a MAC of
it, so that an invented one is refused without asking Redis: nobody can crowd out real pages.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
import time
from uuid import UUID

from redis.asyncio import Redis

from shared.kernel.errors import Refused
from shared.runtime.ground import redis_client

LIFETIME_SECONDS = 60
RANDOM_BYTES = 32
MAC_BYTES = 16
# Without padding, as both together are a multiple of three.
TICKET_CHARACTERS_MAX = (RANDOM_BYTES + MAC_BYTES) * 4 // 3
KEY_PREFIX = "payment:stream-ticket:"
# Shared by the API's processes. Only a brake: a ticket that nobody was given is in no hash.
MAC_KEY = "payment:stream-ticket-mac"
MAC_KEY_BYTES = 32
# An invented ticket may make us look for a newer key, but all of them together only so often.
RELOAD_PAUSE_SECONDS = 1.0
# A person waits for this; live status is a comfort that must fail fast. Redis answers within a
# millisecond, but in a crowd the answer waits for us.
TIMEOUT_SECONDS = 3.0
# All pages come back at the same moment after a deploy: they queue for a connection.
WAIT_SECONDS = 10.0
CONNECTIONS_MAX = 16


class StreamTickets:
    """Raises redis.RedisError where Redis does not answer: 503 at the edge."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._key: bytes | None = None
        self._loading: asyncio.Task[None] | None = None
        self._loaded_at = -RELOAD_PAUSE_SECONDS

    async def issue(self, *, order_id: UUID, person_id: UUID) -> str:
        key = self._key or secrets.token_bytes(MAC_KEY_BYTES)
        while True:
            ticket = _new_ticket(key)
            async with self._redis.pipeline(transaction=True) as pipeline:
                # Redis may have forgotten the key, or have got another one from another process.
                pipeline.set(MAC_KEY, key, nx=True)
                pipeline.get(MAC_KEY)
                pipeline.set(_key(ticket), f"{order_id} {person_id}", ex=LIFETIME_SECONDS)
                _, kept, _ = await pipeline.execute()
            self._key = bytes(kept)
            if self._key == key:
                return ticket
            key = self._key

    async def redeem(self, ticket: str, *, order_id: UUID) -> UUID:
        """The person it was issued to. Raises Refused unless it is fresh and for this order."""
        value = await self._redis.getdel(_key(ticket)) if await self._is_ours(ticket) else None
        if isinstance(value, bytes):
            for_order, _, person_id = value.decode().partition(" ")
            if for_order == str(order_id):
                return UUID(person_id)
        detail = "The ticket was used, is too old, or is for another order: ask for a new one."
        raise Refused("ticket_not_valid", detail, status=403)

    async def _is_ours(self, ticket: str) -> bool:
        if _is_made_with(self._key, ticket):
            return True
        if _parts(ticket) is None or time.monotonic() - self._loaded_at < RELOAD_PAUSE_SECONDS:
            return False
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load())
        # One look for all who wait; that one of them goes away does not end it.
        await asyncio.shield(self._loading)
        return _is_made_with(self._key, ticket)

    async def _load(self) -> None:
        kept = await self._redis.get(MAC_KEY)
        self._loaded_at = time.monotonic()
        if isinstance(kept, bytes):
            self._key = kept


def open_redis(url: str) -> Redis:
    """A lazy client with few connections; it answers bytes."""
    return redis_client.open_redis(
        url,
        connections=CONNECTIONS_MAX,
        timeout_seconds=TIMEOUT_SECONDS,
        wait_seconds=WAIT_SECONDS,
    )


def _new_ticket(key: bytes) -> str:
    random = secrets.token_bytes(RANDOM_BYTES)
    return base64.urlsafe_b64encode(random + _mac(key, random)).decode()


def _is_made_with(key: bytes | None, ticket: str) -> bool:
    parts = _parts(ticket)
    if key is None or parts is None:
        return False
    random, mac = parts
    return hmac.compare_digest(mac, _mac(key, random))


def _parts(ticket: str) -> tuple[bytes, bytes] | None:
    """The random value and its MAC; None where it has not the form of a ticket."""
    if len(ticket) != TICKET_CHARACTERS_MAX:
        return None
    try:
        value = base64.b64decode(ticket.encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
    return value[:RANDOM_BYTES], value[RANDOM_BYTES:]


def _mac(key: bytes, random: bytes) -> bytes:
    return hmac.digest(key, random, hashlib.sha256)[:MAC_BYTES]


def _key(ticket: str) -> str:
    return KEY_PREFIX + hashlib.sha256(ticket.encode("utf-8", "replace")).hexdigest()
