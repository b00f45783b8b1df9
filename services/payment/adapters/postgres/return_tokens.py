"""Tokens with which a payer comes back from a cashier."""

import hashlib
from datetime import datetime
from uuid import UUID

from shared.runtime.database.statements import Connection, text

DELETED_MAX = 1_000

ISSUE_TOKEN = text(
    "INSERT INTO return_token (token_hash, order_id, expires_at)"
    " VALUES (:token_hash, :order_id, :expires_at)"
)
FIND_TOKEN = text(
    "SELECT order_id FROM return_token WHERE token_hash = :token_hash AND expires_at > :now"
)
DELETE_TOKENS = text(
    f"""
    DELETE FROM return_token WHERE token_hash = ANY(ARRAY(
        SELECT token_hash FROM return_token
        WHERE expires_at < now() - interval '1 day' LIMIT {DELETED_MAX}))
    """
)


class PostgresReturnTokens:
    """Random tokens, kept as hashes: who reads the table cannot use them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def issue(self, token: str, *, order_id: UUID, expires_at: datetime) -> None:
        row = {"token_hash": _hash(token), "order_id": order_id, "expires_at": expires_at}
        await self._connection.execute(ISSUE_TOKEN, row)

    async def order_of(self, token: str, *, now: datetime) -> UUID | None:
        found = await self._connection.execute(FIND_TOKEN, {"token_hash": _hash(token), "now": now})
        row = found.one_or_none()
        return row.order_id if row else None


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
