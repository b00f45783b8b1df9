"""Log out: no refresh token of the session works any more."""

from uuid import UUID

from services.identity.application.ports import Unit
from services.identity.domain.session import EndReason
from shared.kernel.clock import Clock


async def close_session(unit: Unit, session_id: UUID, *, clock: Clock) -> None:
    """Closing twice changes nothing. Access tokens run out by themselves within 15 minutes."""
    await unit.sessions.end(session_id, EndReason.LOGOUT, clock.now())
