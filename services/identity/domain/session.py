"""A session is a family of refresh tokens of which only the newest works.

Whoever shows one that was used before holds a copy: the whole family ends, for thief and owner
alike, and the owner logs in again (docs/decisions, refresh rotation).
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

# 256 bits: no rate limit and no slow hash are needed against guessing.
REFRESH_TOKEN_BYTES = 32


class RefreshVerdict(StrEnum):
    """What becomes of a shown refresh token."""

    ROTATE = "rotate"
    """It is the newest one: it gives way to a new one."""
    ENDED = "ended"
    """It is too old, or its session was closed."""
    OVERTAKEN = "overtaken"
    """It was used while this request was already under way: two at once, no theft."""
    REUSED = "reused"
    """It was used before this request began: somebody holds a copy."""


class EndReason(StrEnum):
    """Why a session ended before its time."""

    LOGOUT = "logout"
    REUSE = "reuse"


@dataclass(frozen=True, slots=True)
class ShownToken:
    """A refresh token as the table knows it, with the state of its session."""

    session_id: UUID
    insured_person_id: UUID
    issued_at: datetime
    used_at: datetime | None
    ended_at: datetime | None

    def judge(self, *, arrived_at: datetime, now: datetime, idle: timedelta) -> RefreshVerdict:
        """Decide with the session's row locked.

        `arrived_at` is when this request came in: a use after that instant was at the same time.
        """
        if self.ended_at is not None or now - self.issued_at >= idle:
            return RefreshVerdict.ENDED
        if self.used_at is None:
            return RefreshVerdict.ROTATE
        if self.used_at > arrived_at:
            return RefreshVerdict.OVERTAKEN
        return RefreshVerdict.REUSED


def new_refresh_token() -> str:
    return secrets.token_urlsafe(REFRESH_TOKEN_BYTES)


def hash_refresh_token(token: str) -> bytes:
    """What is stored: SHA-256, enough for a random value of 256 bits."""
    return hashlib.sha256(token.encode()).digest()
