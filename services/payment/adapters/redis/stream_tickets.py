"""Tickets for live status: one use, one minute, kept in Redis as a hash only.

EventSource cannot send headers, so the ticket travels in the query; whoever reads Redis or finds
a ticket in some log afterwards can do nothing with it.
"""

import hashlib
import secrets
from uuid import UUID

from redis.asyncio import Redis

from shared.kernel.errors import Refused

LIFETIME_SECONDS = 60
TICKET_BYTES = 32
TICKET_CHARACTERS_MAX = 64
KEY_PREFIX = "payment:stream-ticket:"
# A person waits for this; live status is a comfort that must fail fast.
TIMEOUT_SECONDS = 1.0
CONNECTIONS_MAX = 16


class StreamTickets:
    """Raises redis.RedisError where Redis does not answer: 503 at the edge."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def issue(self, *, order_id: UUID, person_id: UUID) -> str:
        ticket = secrets.token_urlsafe(TICKET_BYTES)
        value = f"{order_id} {person_id}"
        await self._redis.set(_key(ticket), value, ex=LIFETIME_SECONDS)
        return ticket

    async def redeem(self, ticket: str, *, order_id: UUID) -> UUID:
        """The person it was issued to. Raises Refused unless it is fresh and for this order."""
        value = await self._redis.getdel(_key(ticket))
        if isinstance(value, bytes):
            for_order, _, person_id = value.decode().partition(" ")
            if for_order == str(order_id):
                return UUID(person_id)
        detail = "The ticket was used, is too old, or is for another order: ask for a new one."
        raise Refused("ticket_not_valid", detail, status=403)


def open_redis(url: str) -> Redis:
    """A lazy client with few connections; it answers bytes."""
    return Redis.from_url(
        url,
        max_connections=CONNECTIONS_MAX,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
    )


def _key(ticket: str) -> str:
    return KEY_PREFIX + hashlib.sha256(ticket.encode("utf-8", "replace")).hexdigest()
