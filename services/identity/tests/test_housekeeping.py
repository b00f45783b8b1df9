"""Housekeeping, on a database of its own: it forgets only what is over."""

from datetime import timedelta

from services.identity.adapters.postgres.housekeeping import IdentityHousekeeping
from services.identity.tests.running_identity import Identity
from shared.kernel.clock import SystemClock
from testing.clock import FixedClock

DAY = timedelta(days=1)


async def test_housekeeping_forgets_only_what_is_over(identity: Identity) -> None:
    clock = FixedClock(SystemClock().now())
    housekeeping = IdentityHousekeeping(identity.database, clock, session_idle=timedelta(days=30))
    session = await identity.logged_in()
    count = "SELECT (SELECT count(*) FROM session) + (SELECT count(*) FROM refresh_token) AS rows"

    clock.advance(30 * DAY)
    await housekeeping.step()
    still_works = await identity.refresh(session["refresh_token"])
    clock.advance(2 * DAY)
    gone = await housekeeping.step()
    [left] = await identity.rows(count)
    clock.advance(90 * DAY)
    await housekeeping.step()

    assert still_works.status_code == 200
    assert gone > 0
    assert left.rows == 0
    assert await identity.rows("SELECT day FROM sms_budget") == []
    assert len(await identity.rows("SELECT id FROM person")) > 0
