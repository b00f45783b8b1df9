"""The worker of identity, from its parts."""

from services.identity.adapters.postgres.housekeeping import IdentityHousekeeping
from services.identity.settings import IdentitySettings
from services.identity.wiring.database import SERVICE, open_pool
from shared.kernel.clock import SystemClock
from shared.runtime.messaging import housekeeping
from shared.runtime.process.due_loop import DueLoop
from shared.runtime.process.health import service_health
from shared.runtime.process.process import run_process

WORKER_CONNECTIONS = 1
GAUGES_SECONDS = 15.0


async def worker(settings: IdentitySettings) -> int:
    """Housekeeping only: identity tells and hears no events yet."""
    clock = SystemClock()
    database = open_pool(settings, WORKER_CONNECTIONS, clock)
    shared = housekeeping.Housekeeping(database, clock)
    own = IdentityHousekeeping(database, clock, session_idle=settings.session_idle)
    gauges = housekeeping.Gauges(database)
    return await run_process(
        [
            DueLoop("housekeeping", shared.step, idle_seconds=housekeeping.IDLE_SECONDS),
            DueLoop("sessions", own.step, idle_seconds=housekeeping.IDLE_SECONDS),
            DueLoop("gauges", gauges.step, idle_seconds=GAUGES_SECONDS),
        ],
        closing=[database.close],
        grace_seconds=settings.shutdown_grace_seconds,
        health=service_health(database, service=SERVICE),
        operations=settings.metrics_address(),
    )
