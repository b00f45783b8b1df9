"""The API of notifier, from its parts."""

from fastapi import FastAPI

from services.notifier.adapters.http.api import Parts, router
from services.notifier.adapters.jinja_texts import JinjaTexts
from services.notifier.adapters.postgres.unit import transactions_of
from services.notifier.settings import ApiSettings, NotifierSettings
from services.notifier.wiring.database import SERVICE, open_pool
from shared.kernel.clock import SystemClock
from shared.runtime.database.database import Database
from shared.runtime.http.server import serve
from shared.runtime.http.web import build_app
from shared.runtime.keys.access_token import AccessTokens, Jwks, KeySource
from shared.runtime.process.health import service_health
from shared.runtime.process.process import run_process
from shared.runtime.process.settings import read_settings

# docs/connection-budget.md
API_CONNECTIONS = 1


def compose_api(settings: ApiSettings, database: Database, keys: KeySource) -> FastAPI:
    app = build_app(SERVICE, router=router, access_tokens=AccessTokens(keys))
    app.state.parts = Parts(
        transactions=transactions_of(database),
        texts=JinjaTexts(hotline=settings.support_phone),
    )
    return app


async def api(settings: NotifierSettings) -> int:
    """HTTP. Ready without identity: keys that were fetched before stay valid."""
    settings = read_settings(ApiSettings)
    address = settings.http_address()
    database = open_pool(settings, API_CONNECTIONS, SystemClock())
    jwks = Jwks(settings.identity_url)
    app = compose_api(settings, database, jwks)
    return await run_process(
        [serve(app, address.host, address.port), jwks],
        closing=[jwks.close, database.close],
        grace_seconds=settings.shutdown_grace_seconds,
        health=service_health(database, service=SERVICE),
        operations=settings.metrics_address(),
    )
