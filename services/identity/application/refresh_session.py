"""Exchange a refresh token for a new pair; one shown for the second time ends its family.

But the last one, at once and while its successor is unused, is answered again, once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.identity.application.open_session import Tokens
from services.identity.application.ports import AccessTokens, Unit
from services.identity.domain.session import (
    EndReason,
    RefreshVerdict,
    hash_refresh_token,
    new_refresh_token,
)
from shared.kernel.clock import Clock

GIVES_TOKENS = (RefreshVerdict.ROTATE, RefreshVerdict.REPEAT)


@dataclass(frozen=True, slots=True)
class Renewal:
    """The verdict, and the new tokens where it gives any."""

    verdict: RefreshVerdict
    tokens: Tokens | None = None


async def refresh_session(
    unit: Unit,
    refresh_token: str,
    *,
    arrived_at: datetime,
    idle: timedelta,
    access_tokens: AccessTokens,
    clock: Clock,
) -> Renewal:
    """New tokens, or the verdict why there are none.

    A refusal is returned and not raised: ending the family must be committed.
    """
    token_hash = hash_refresh_token(refresh_token)
    shown = await unit.sessions.lock_token(token_hash)
    if shown is None:
        return Renewal(RefreshVerdict.ENDED)
    now = clock.now()
    verdict = shown.judge(arrived_at=arrived_at, now=now, idle=idle)
    if verdict is RefreshVerdict.REUSED:
        await unit.sessions.end(shown.session_id, EndReason.REUSE, now)
    if verdict not in GIVES_TOKENS:
        return Renewal(verdict)
    successor = new_refresh_token()
    if verdict is RefreshVerdict.REPEAT:
        await unit.sessions.void_unused(shown.session_id, now)
    else:
        await unit.sessions.mark_used(token_hash, now)
    await unit.sessions.add_token(shown.session_id, hash_refresh_token(successor), now)
    tokens = Tokens(
        insured_person_id=shown.insured_person_id,
        access_token=access_tokens.sign(
            insured_person_id=shown.insured_person_id, session_id=shown.session_id, now=now
        ),
        expires_in=access_tokens.lifetime_seconds,
        refresh_token=successor,
    )
    return Renewal(verdict, tokens)
