"""The API of payment, from its parts."""

from dataclasses import dataclass
from functools import partial

from fastapi import FastAPI

from services.payment.adapters.channels.pace import ChannelPace
from services.payment.adapters.http.api import router
from services.payment.adapters.http.models import SupportLine
from services.payment.adapters.http.notification_desk import NotificationDesk
from services.payment.adapters.http.order_streams import OrderStreams, StreamLimits
from services.payment.adapters.http.parts import Parts
from services.payment.adapters.postgres.refused_notifications import Evidence, declare_refusals
from services.payment.adapters.postgres.switch_board import SwitchBoard
from services.payment.adapters.postgres.unit import transactions_of
from services.payment.adapters.postgres.views import read_changed
from services.payment.adapters.redis.stream_tickets import StreamTickets, open_redis
from services.payment.application.call_cashiers import CashierCalls
from services.payment.application.ports import Channels
from services.payment.settings import ApiSettings, PaymentSettings
from services.payment.wiring.channels import (
    Closing,
    declare_moves,
    known_channels,
    limits_of,
    open_measured_cashiers,
)
from services.payment.wiring.database import SERVICE, open_pool
from shared.kernel.clock import Clock, SystemClock
from shared.kernel.wording import Wording
from shared.runtime.database.database import Database, is_transient
from shared.runtime.ground.metrics import FORWARDED_UNREADABLE
from shared.runtime.http.client_address import ClientAddresses
from shared.runtime.http.server import serve
from shared.runtime.http.web import build_app
from shared.runtime.keys.access_token import AccessTokens, Jwks, KeySource
from shared.runtime.process.health import service_health
from shared.runtime.process.process import run_process
from shared.runtime.process.settings import read_settings

# docs/connection-budget.md
API_CONNECTIONS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedApi:
    """The application, the components it lives on, and what must be closed after all of them."""

    app: FastAPI
    streams: OrderStreams
    switches: SwitchBoard
    closing: Closing


def compose_api(
    settings: ApiSettings,
    database: Database,
    keys: KeySource,
    clock: Clock,
    *,
    channels: Channels,
    pace: ChannelPace,
) -> ComposedApi:
    """HTTP over the channels that this process can call."""
    redis = open_redis(settings.redis_url.get_secret_value())
    transactions = transactions_of(database)
    called = {id: channel.capabilities for id, channel in channels.items()}
    known = {**known_channels(settings), **called}
    streams = OrderStreams(partial(read_changed, database), _stream_limits(settings))
    switches = SwitchBoard(database, list(known))
    declare_refusals(channels)
    app = build_app(SERVICE, router=router, access_tokens=AccessTokens(keys))
    app.state.parts = Parts(
        database=database,
        channels=known,
        calls=CashierCalls(
            transactions=transactions, channels=channels, clock=clock, limits=limits_of(settings)
        ),
        desk=NotificationDesk(
            transactions=transactions, channels=channels, clock=clock, is_transient=is_transient
        ),
        evidence=Evidence(database, clock),
        switches=switches,
        pace=pace,
        support=SupportLine(
            name=Wording(settings.support_name_zh, settings.support_name_en),
            phone=settings.support_phone,
        ),
        tickets=StreamTickets(redis),
        streams=streams,
        client_addresses=ClientAddresses(
            settings.trusted_networks, count_unreadable=FORWARDED_UNREADABLE.inc
        ),
        return_base_url=settings.payment_return_base_url,
        clock=clock,
    )
    return ComposedApi(app=app, streams=streams, switches=switches, closing=[redis.aclose])


async def api(settings: PaymentSettings) -> int:
    """HTTP. Ready without identity, Redis or channels: what is known stays readable."""
    settings = read_settings(ApiSettings)
    address = settings.http_address()
    clock, pace = SystemClock(), ChannelPace()
    declare_moves()
    database = open_pool(settings, API_CONNECTIONS, clock)
    jwks = Jwks(settings.identity_url)
    channels, closing = open_measured_cashiers(settings, pace, clock)
    composed = compose_api(settings, database, jwks, clock, channels=channels, pace=pace)
    server = serve(composed.app, address.host, address.port)
    return await run_process(
        # Streams first: the server can close only after they have ended.
        [composed.streams, composed.switches, server, jwks],
        closing=[*composed.closing, *closing, jwks.close, database.close],
        grace_seconds=settings.shutdown_grace_seconds,
        health=service_health(database, service=SERVICE),
        operations=settings.metrics_address(),
    )


def _stream_limits(settings: ApiSettings) -> StreamLimits:
    return StreamLimits(
        per_process=settings.payment_streams_max,
        per_person=settings.payment_streams_per_person_max,
    )
