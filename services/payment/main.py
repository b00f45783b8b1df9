"""The composition root of payment: the only file that knows every other."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from fastapi import FastAPI

from services.payment.adapters.api import Parts, router
from services.payment.adapters.api_models import SupportLine
from services.payment.adapters.attempt_loop import AttemptLoop
from services.payment.adapters.consumer import build_consumer
from services.payment.adapters.gauges import PaymentGauges
from services.payment.adapters.measured_channel import MeasuredDirectChannel
from services.payment.adapters.order_streams import OrderStreams, StreamLimits
from services.payment.adapters.order_views import read_changed
from services.payment.adapters.repositories import transactions_of
from services.payment.adapters.sandbox_direct_channel import (
    SANDBOX_DIRECT,
    SandboxDirectChannel,
    open_client,
)
from services.payment.adapters.stream_tickets import StreamTickets, open_redis
from services.payment.application.expire_orders import expire_orders
from services.payment.application.open_orders import OrderOpener
from services.payment.application.ports import Channels
from services.payment.application.repeat_unexpected_money import repeat_unexpected_money
from services.payment.application.run_attempts import AttemptRunner, Limits
from services.payment.domain.channel import Capabilities
from services.payment.domain.payment_attempt import ATTEMPT_TRANSITIONS
from services.payment.domain.payment_order import ORDER_TRANSITIONS
from services.payment.domain.refund import REFUND_TRANSITIONS
from services.payment.settings import ApiSettings, PaymentSettings, WorkerSettings
from shared.kernel.clock import Clock, SystemClock
from shared.runtime import housekeeping
from shared.runtime.access_token import AccessTokens, Jwks, KeySource
from shared.runtime.commands import ServiceCommands
from shared.runtime.consumer import Consumer
from shared.runtime.database import Database, is_transient, open_database
from shared.runtime.dispatch import Dispatch
from shared.runtime.due_loop import DueLoop
from shared.runtime.health import service_health
from shared.runtime.http_server import serve
from shared.runtime.metrics import count_transitions
from shared.runtime.process import Component, run_process
from shared.runtime.relay import Relay
from shared.runtime.settings import SettingsError, read_settings, variable
from shared.runtime.web import build_app

SERVICE = "payment"
# docs/connection-budget.md
API_CONNECTIONS = 2
WORKER_CONNECTIONS = 2
RELAY_CONNECTIONS = 1
UNEXPECTED_IDLE_SECONDS = 5.0
EXPIRY_IDLE_SECONDS = 5.0
GAUGES_SECONDS = 15.0

# What is known of each channel, whether or not this process calls it.
CHANNELS: Mapping[str, Capabilities] = {SANDBOX_DIRECT.id: SANDBOX_DIRECT}

Closing = list[Callable[[], Awaitable[None]]]


def compose_api(
    settings: ApiSettings, database: Database, keys: KeySource, clock: Clock
) -> tuple[FastAPI, OrderStreams, Closing]:
    """The application, its stream poller (a Component), and what must be closed after both."""
    redis = open_redis(settings.redis_url.get_secret_value())
    limits = StreamLimits(
        per_process=settings.payment_streams_max,
        per_person=settings.payment_streams_per_person_max,
    )
    streams = OrderStreams(partial(read_changed, database), limits)
    app = build_app(SERVICE, router=router, access_tokens=AccessTokens(keys))
    app.state.parts = Parts(
        database=database,
        channels=CHANNELS,
        support=SupportLine(
            name_zh=settings.support_name_zh,
            name_en=settings.support_name_en,
            phone=settings.support_phone,
        ),
        tickets=StreamTickets(redis),
        streams=streams,
        clock=clock,
    )
    return app, streams, [redis.aclose]


async def api(settings: PaymentSettings) -> int:
    """HTTP. Ready without identity, Redis or channels: what is known stays readable."""
    settings = read_settings(ApiSettings)
    address = settings.http_address()
    clock = SystemClock()
    database = _open(settings, API_CONNECTIONS, clock)
    jwks = Jwks(settings.identity_url)
    app, streams, closing = compose_api(settings, database, jwks, clock)
    return await run_process(
        # Streams first: the server can close only after they have ended.
        [streams, serve(app, address.host, address.port), jwks],
        closing=[*closing, jwks.close, database.close],
        grace_seconds=settings.shutdown_grace_seconds,
        health=service_health(database, service=SERVICE),
        operations=settings.metrics_address(),
    )


def compose_loops(
    database: Database, channels: Channels, settings: WorkerSettings, clock: Clock
) -> list[Component]:
    """What payment does by itself when its time comes."""
    transactions = transactions_of(database)
    runner = AttemptRunner(
        transactions=transactions,
        channels=channels,
        clock=clock,
        is_transient=is_transient,
        limits=_limits(settings),
    )
    repeat = partial(repeat_unexpected_money, transactions, clock=clock)
    expire = partial(expire_orders, transactions, clock=clock)
    return [
        AttemptLoop(runner),
        DueLoop("unexpected_money", repeat, idle_seconds=UNEXPECTED_IDLE_SECONDS),
        DueLoop("expire_orders", expire, idle_seconds=EXPIRY_IDLE_SECONDS),
    ]


async def worker(settings: PaymentSettings) -> int:
    """Hears billing, asks the channels, and sends what payment tells."""
    settings = read_settings(WorkerSettings)
    client = open_client(
        call_timeout_seconds=settings.payment_call_timeout_seconds,
        connections=settings.payment_concurrent_calls,
    )
    sandbox = MeasuredDirectChannel(SandboxDirectChannel(client, url=settings.sandbox_direct_url))
    return await run_worker(
        settings, channels={SANDBOX_DIRECT.id: sandbox}, closing=[client.aclose]
    )


async def run_worker(settings: WorkerSettings, *, channels: Channels, closing: Closing) -> int:
    """The worker over these channels; `closing` ends what they need, after everything else."""
    clock = SystemClock()
    count_transitions(ORDER_TRANSITIONS)
    count_transitions(ATTEMPT_TRANSITIONS)
    count_transitions(REFUND_TRANSITIONS)
    database = _open(settings, WORKER_CONNECTIONS, clock)
    relay_database = _open(settings, RELAY_CONNECTIONS, clock)
    loops = compose_loops(database, channels, settings, clock)
    reactions = consumer(settings)
    kafka = settings.kafka_bootstrap_servers
    dispatch = Dispatch(database, reactions, bootstrap_servers=kafka)
    relay = Relay(relay_database, bootstrap_servers=kafka)
    database.on_outbox_commit(relay.wake)
    cleaning = housekeeping.Housekeeping(database, clock)
    gauges = housekeeping.Gauges(database, consumer=reactions.name)
    own_gauges = PaymentGauges(database)
    return await run_process(
        [
            dispatch,
            *loops,
            DueLoop("housekeeping", cleaning.step, idle_seconds=housekeeping.IDLE_SECONDS),
            DueLoop("gauges", gauges.step, idle_seconds=GAUGES_SECONDS),
            DueLoop("payment_gauges", own_gauges.step, idle_seconds=GAUGES_SECONDS),
            relay,
        ],
        closing=[*closing, database.close, relay_database.close],
        grace_seconds=settings.shutdown_grace_seconds,
        health=service_health(database, service=SERVICE, watched=[dispatch, relay]),
        operations=settings.metrics_address(),
    )


def consumer(settings: PaymentSettings) -> Consumer:
    """The reaction table; needs no connection to any channel."""
    if settings.payment_default_channel not in CHANNELS:
        known = ", ".join(CHANNELS)
        raise SettingsError(f"{variable('payment_default_channel')} must be one of {known}.")
    clock = SystemClock()
    opener = OrderOpener(
        channels=CHANNELS, default_channel=settings.payment_default_channel, clock=clock
    )
    return build_consumer(opener=opener, clock=clock)


COMMANDS = ServiceCommands(
    service=SERVICE,
    settings=PaymentSettings,
    processes={"api": api, "worker": worker},
    consumer=consumer,
)


def _limits(settings: WorkerSettings) -> Limits:
    try:
        return settings.limits
    except ValueError as error:
        raise SettingsError(f"{variable('payment_lease_seconds')} is too short: {error}.") from None


def _open(settings: PaymentSettings, pool_size: int, clock: Clock) -> Database:
    url = settings.database_url.get_secret_value()
    return open_database(url, source=SERVICE, pool_size=pool_size, clock=clock)
