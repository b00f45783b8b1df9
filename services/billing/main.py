"""The composition root of billing: the only file that knows every other."""

from fastapi import FastAPI

from services.billing.adapters.consumer import BILLING
from services.billing.adapters.http.api import Parts, router
from services.billing.adapters.postgres.gauges import BillingGauges
from services.billing.adapters.postgres.unit import BillingUnit
from services.billing.application.ask_for_outcomes import ask_for_outcomes
from services.billing.domain.contribution import CONTRIBUTION
from services.billing.domain.payment_request import PAYMENT_REQUEST
from services.billing.domain.standard import load_standards
from services.billing.settings import ApiSettings, BillingSettings
from shared.kernel.clock import Clock, SystemClock
from shared.runtime.database.database import Database, open_database
from shared.runtime.ground.metrics import declare_transitions
from shared.runtime.http.server import serve
from shared.runtime.http.web import build_app
from shared.runtime.keys.access_token import AccessTokens, Jwks, KeySource
from shared.runtime.messaging import housekeeping
from shared.runtime.messaging.consumer import Consumer
from shared.runtime.messaging.dispatch import Dispatch
from shared.runtime.messaging.relay import Relay
from shared.runtime.process.commands import ServiceCommands
from shared.runtime.process.due_loop import DueLoop
from shared.runtime.process.health import service_health
from shared.runtime.process.process import run_process
from shared.runtime.process.settings import read_settings

SERVICE = "billing"
# docs/connection-budget.md
API_CONNECTIONS = 2
WORKER_CONNECTIONS = 2
RELAY_CONNECTIONS = 1
ASK_IDLE_SECONDS = 1.0
GAUGES_SECONDS = 15.0


def compose_api(
    settings: BillingSettings, database: Database, keys: KeySource, clock: Clock
) -> FastAPI:
    """The application; `keys` verify access tokens."""
    app = build_app(SERVICE, router=router, access_tokens=AccessTokens(keys))
    app.state.parts = Parts(
        database=database,
        standards=load_standards(),
        asking=settings.asking,
        order_lifetime=settings.order_lifetime,
        clock=clock,
    )
    return app


async def api(settings: BillingSettings) -> int:
    """HTTP. Ready without identity: keys fetched before stay valid."""
    settings = read_settings(ApiSettings)
    address = settings.http_address()
    clock = SystemClock()
    _declare_moves()
    database = _open(settings, API_CONNECTIONS, clock)
    jwks = Jwks(settings.identity_url)
    app = compose_api(settings, database, jwks, clock)
    return await run_process(
        [serve(app, address.host, address.port), jwks],
        closing=[jwks.close, database.close],
        grace_seconds=settings.shutdown_grace_seconds,
        health=service_health(database, service=SERVICE),
        operations=settings.metrics_address(),
    )


async def worker(settings: BillingSettings) -> int:
    """Hears payment, asks again what it does not hear, and sends what billing tells."""
    clock = SystemClock()
    _declare_moves()
    database = _open(settings, WORKER_CONNECTIONS, clock)
    relay_database = _open(settings, RELAY_CONNECTIONS, clock)
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


def consumer(_settings: BillingSettings) -> Consumer:
    return BILLING


COMMANDS = ServiceCommands(
    service=SERVICE,
    settings=BillingSettings,
    processes={"api": api, "worker": worker},
    consumer=consumer,
)


def _open(settings: BillingSettings, pool_size: int, clock: Clock) -> Database:
    url = settings.database_url.get_secret_value()
    return open_database(url, source=SERVICE, pool_size=pool_size, clock=clock)


def _declare_moves() -> None:
    declare_transitions(CONTRIBUTION)
    declare_transitions(PAYMENT_REQUEST)
