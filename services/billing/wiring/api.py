"""The API of billing, from its parts."""

from fastapi import FastAPI

from services.billing.adapters.http.api import Parts, router
from services.billing.domain.standard import load_standards
from services.billing.settings import ApiSettings, BillingSettings
from services.billing.wiring.database import SERVICE, open_pool
from services.billing.wiring.moves import declare_moves
from shared.kernel.clock import Clock, SystemClock
from shared.runtime.database.database import Database
from shared.runtime.http.server import serve
from shared.runtime.http.web import build_app
from shared.runtime.keys.access_token import AccessTokens, Jwks, KeySource
from shared.runtime.process.health import service_health
from shared.runtime.process.process import run_process
from shared.runtime.process.settings import read_settings

# docs/connection-budget.md
API_CONNECTIONS = 2


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
    declare_moves()
    database = open_pool(settings, API_CONNECTIONS, clock)
    jwks = Jwks(settings.identity_url)
    app = compose_api(settings, database, jwks, clock)
    return await run_process(
        [serve(app, address.host, address.port), jwks],
        closing=[jwks.close, database.close],
        grace_seconds=settings.shutdown_grace_seconds,
        health=service_health(database, service=SERVICE),
        operations=settings.metrics_address(),
    )
