"""A session is a family of refresh tokens of which only the newest works.

Whoever shows one that was used before holds a copy: the whole family ends, for thief and owner
alike, and the owner logs in again. One case is spared: the last answer got lost, and its token
is shown once more at once (docs/decisions, 0006 and 0021).
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

# 256 bits: no rate limit and no slow hash are needed against guessing.
REFRESH_TOKEN_BYTES = 32
# How long after its use the last token may come again because the answer got lost.
LOST_ANSWER_GRACE = timedelta(seconds=30)


class RefreshVerdict(StrEnum):
    """What becomes of a shown refresh token."""

    ROTATE = "rotate"
    """It is the newest one: it gives way to a new one."""
    REPEAT = "repeat"
    """Its answer seems to be lost: once more a new one, and what the answer held is void."""
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
    is_void: bool = False
    """It was given out in an answer that seemed lost, and replaced before any use."""
    is_last_used: bool = False
    """No other token of the session was used or made void since: its successor is unused."""
    repeated_at: datetime | None = None
    """When an answer of this session was last given once more."""

    def judge(self, *, arrived_at: datetime, now: datetime, idle: timedelta) -> RefreshVerdict:
        """Decide with the session's row locked.

        `arrived_at` is when this request came in: a use after that instant was at the same time.
        """
        if self.ended_at is not None or now - self.issued_at >= idle:
            return RefreshVerdict.ENDED
        if self.used_at is None:
            return RefreshVerdict.ROTATE
        if max(self.used_at, self.repeated_at or self.used_at) > arrived_at:
            return RefreshVerdict.OVERTAKEN
        is_recent = now - self.used_at < LOST_ANSWER_GRACE
        if is_recent and self.is_last_used and not self.is_void:
            return RefreshVerdict.REPEAT
        return RefreshVerdict.REUSED


def new_refresh_token() -> str:
    return secrets.token_urlsafe(REFRESH_TOKEN_BYTES)


def hash_refresh_token(token: str) -> bytes:
    """What is stored: SHA-256, enough for a random value of 256 bits."""
    return hashlib.sha256(token.encode()).digest()
