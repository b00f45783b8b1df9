"""The worker of billing, from its parts."""

from services.billing.adapters.consumer import BILLING
from services.billing.adapters.postgres.gauges import BillingGauges
from services.billing.adapters.postgres.unit import BillingUnit
from services.billing.application.ask_for_outcomes import ask_for_outcomes
from services.billing.settings import BillingSettings
from services.billing.wiring.database import SERVICE, open_pool
from services.billing.wiring.moves import declare_moves
from shared.kernel.clock import SystemClock
from shared.runtime.messaging import housekeeping
from shared.runtime.messaging.dispatch import Dispatch
from shared.runtime.messaging.relay import Relay
from shared.runtime.process.due_loop import DueLoop
from shared.runtime.process.health import service_health
from shared.runtime.process.process import run_process

WORKER_CONNECTIONS = 2
RELAY_CONNECTIONS = 1
ASK_IDLE_SECONDS = 1.0
GAUGES_SECONDS = 15.0


async def worker(settings: BillingSettings) -> int:
    """Hears payment, asks again what it does not hear, and sends what billing tells."""
    clock = SystemClock()
    declare_moves()
    database = open_pool(settings, WORKER_CONNECTIONS, clock)
    relay_database = open_pool(settings, RELAY_CONNECTIONS, clock)
    kafka = settings.kafka_bootstrap_servers
    dispatch = Dispatch(database, BILLING, bootstrap_servers=kafka)
    relay = Relay(relay_database, bootstrap_servers=kafka)
    database.on_outbox_commit(relay.wake)
    cleaning = housekeeping.Housekeeping(database, clock)
    gauges = housekeeping.Gauges(database, consumer=BILLING.name)
    own_gauges = BillingGauges(database)

    async def ask() -> int:
        async with database.transaction() as unit:
            return await ask_for_outcomes(
                BillingUnit(unit), asking=settings.asking, now=clock.now()
            )

    return await run_process(
        [
            dispatch,
            DueLoop("ask_for_outcomes", ask, idle_seconds=ASK_IDLE_SECONDS),
            DueLoop("housekeeping", cleaning.step, idle_seconds=housekeeping.IDLE_SECONDS),
            DueLoop("gauges", gauges.step, idle_seconds=GAUGES_SECONDS),
            DueLoop("billing_gauges", own_gauges.step, idle_seconds=GAUGES_SECONDS),
            relay,
        ],
        closing=[database.close, relay_database.close],
        grace_seconds=settings.shutdown_grace_seconds,
        health=service_health(database, service=SERVICE, watched=[dispatch, relay]),
        operations=settings.metrics_address(),
    )
