"""The composition root of payment: the only file that knows every other."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import httpx2
from fastapi import FastAPI

from services.payment.adapters.alipay.channel import ALIPAY
from services.payment.adapters.attempt_loop import AttemptLoop
from services.payment.adapters.bank.direct_debit import (
    BANK_DIRECT_DEBIT,
    BankDirectDebitChannel,
)
from services.payment.adapters.channels.http import open_client
from services.payment.adapters.channels.measured import (
    MeasuredCashierChannel,
    MeasuredDirectChannel,
)
from services.payment.adapters.channels.pace import ChannelPace
from services.payment.adapters.consumer import build_consumer
from services.payment.adapters.http.api import router
from services.payment.adapters.http.models import SupportLine
from services.payment.adapters.http.notification_desk import NotificationDesk
from services.payment.adapters.http.order_streams import OrderStreams, StreamLimits
from services.payment.adapters.http.parts import Parts
from services.payment.adapters.postgres.gauges import PaymentGauges
from services.payment.adapters.postgres.refused_notifications import (
    Evidence,
    declare_refusals,
    delete_old,
)
from services.payment.adapters.postgres.switch_board import SwitchBoard
from services.payment.adapters.postgres.unit import statements_of, transactions_of
from services.payment.adapters.postgres.views import read_changed
from services.payment.adapters.redis.stream_tickets import StreamTickets, open_redis
from services.payment.adapters.wechatpay.channel import WECHATPAY
from services.payment.application.call_cashiers import CashierCalls
from services.payment.application.expire_orders import expire_orders
from services.payment.application.open_orders import OrderOpener
from services.payment.application.ports import AnyChannel, Channels, FirstCalls
from services.payment.application.repeat_unexpected_money import repeat_unexpected_money
from services.payment.application.run_attempts import LATE_CALLS, AttemptRunner, Limits
from services.payment.cashiers import CASHIERS, open_cashiers
from services.payment.domain.channel import Capabilities
from services.payment.domain.payment_attempt import ATTEMPT_TRANSITIONS
from services.payment.domain.payment_order import CHOSEN_BY_PAYER, ORDER_TRANSITIONS
from services.payment.domain.refund import REFUND_TRANSITIONS
from services.payment.settings import (
    ApiSettings,
    CashierSettings,
    ChannelSettings,
    PaymentSettings,
    WorkerSettings,
)
from services.payment.switch_commands import SwitchCommands
from shared.kernel.clock import Clock, SystemClock
from shared.kernel.wording import Wording
from shared.runtime.database.database import Database, is_transient, open_database
from shared.runtime.ground.metrics import declare_transitions
from shared.runtime.http.client_address import ClientAddresses
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
from shared.runtime.process.process import Component, run_process
from shared.runtime.process.settings import SettingsError, read_settings, variable

SERVICE = "payment"
# docs/connection-budget.md
API_CONNECTIONS = 2
WORKER_CONNECTIONS = 2
RELAY_CONNECTIONS = 1
# For what other processes opened; what our own dispatch opened is begun at once.
ATTEMPTS_IDLE_SECONDS = 0.1
UNEXPECTED_IDLE_SECONDS = 5.0
EXPIRY_IDLE_SECONDS = 5.0
LATE_IDLE_SECONDS = 5.0
GAUGES_SECONDS = 15.0

# What is known of each channel, whether or not this process calls it.
CHANNELS: Mapping[str, Capabilities] = {
    channel.id: channel for channel in (ALIPAY, WECHATPAY, BANK_DIRECT_DEBIT)
}


def known_channels(settings: PaymentSettings) -> dict[str, Capabilities]:
    """Every channel, and what the settings say of the one that our own server starts."""
    bank = replace(
        BANK_DIRECT_DEBIT,
        usable=settings.bank_url is not None,
        debit_window=settings.debit_window,
    )
    return {**CHANNELS, bank.id: bank}


Closing = list[Callable[[], Awaitable[None]]]


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
            transactions=transactions, channels=channels, clock=clock, limits=_limits(settings)
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
        client_addresses=ClientAddresses(settings.trusted_networks),
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
    database = _open(settings, API_CONNECTIONS, clock)
    jwks = Jwks(settings.identity_url)
    channels, closing = _open_cashiers(settings, pace, clock)
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


def _open_cashiers(
    settings: CashierSettings, pace: ChannelPace, clock: Clock
) -> tuple[dict[str, AnyChannel], Closing]:
    """The cashiers that the settings configure, by id, and what must be closed after them."""
    # A pool of its own for each: a channel that hangs holds up no other.
    clients = {id: _open_client(settings) for id in CASHIERS}
    opened = open_cashiers(
        settings,
        clients=clients,
        call_timeout_seconds=settings.payment_call_timeout_seconds,
        clock=clock,
    )
    measured = {id: MeasuredCashierChannel(cashier, pace) for id, cashier in opened.items()}
    return {**measured}, [client.aclose for client in clients.values()]


def declare_moves() -> None:
    """Every move of payment's state machines is shown, in whichever process it happens."""
    declare_transitions(ORDER_TRANSITIONS)
    declare_transitions(ATTEMPT_TRANSITIONS)
    declare_transitions(REFUND_TRANSITIONS)


def open_runners(
    database: Database, channels: Channels, settings: WorkerSettings, clock: Clock
) -> tuple[AttemptRunner, AttemptRunner]:
    """Who asks channels about open attempts, and who about those that may be paid late."""
    limits = _limits(settings)
    runner = partial(
        AttemptRunner,
        transactions=transactions_of(database),
        claims=statements_of(database),
        channels=channels,
        clock=clock,
        is_transient=is_transient,
    )
    late_limits = replace(limits, concurrent_calls=LATE_CALLS)
    return runner(limits=limits), runner(limits=late_limits, asks_late=True)


def compose_loops(
    database: Database,
    attempts: AttemptRunner,
    late: AttemptRunner,
    clock: Clock,
    *,
    opened: asyncio.Event,
) -> list[Component]:
    """What payment does by itself when its time comes; `opened` tells of new attempts."""
    transactions = transactions_of(database)
    repeat = partial(repeat_unexpected_money, transactions, clock=clock)
    expire = partial(expire_orders, transactions, clock=clock)
    clean = partial(delete_old, database)
    return [
        AttemptLoop("attempts", attempts, idle_seconds=ATTEMPTS_IDLE_SECONDS, wake=opened),
        AttemptLoop("late_money", late, idle_seconds=LATE_IDLE_SECONDS),
        DueLoop("unexpected_money", repeat, idle_seconds=UNEXPECTED_IDLE_SECONDS),
        DueLoop("expire_orders", expire, idle_seconds=EXPIRY_IDLE_SECONDS),
        DueLoop("clean_notifications", clean, idle_seconds=housekeeping.IDLE_SECONDS),
    ]


async def worker(settings: PaymentSettings) -> int:
    """Hears billing, asks the channels, and sends what payment tells."""
    settings = read_settings(WorkerSettings)
    clock, pace = SystemClock(), ChannelPace()
    channels, closing = _open_cashiers(settings, pace, clock)
    if settings.bank_url is not None:
        client = _open_client(settings)
        bank = BankDirectDebitChannel(
            client,
            url=settings.bank_url,
            clock=clock,
            capabilities=known_channels(settings)[BANK_DIRECT_DEBIT.id],
        )
        channels[BANK_DIRECT_DEBIT.id] = MeasuredDirectChannel(bank, pace)
        closing.append(client.aclose)
    return await run_worker(settings, channels=channels, closing=closing)


async def run_worker(settings: WorkerSettings, *, channels: Channels, closing: Closing) -> int:
    """The worker over these channels; `closing` ends what they need, after everything else."""
    clock = SystemClock()
    declare_moves()
    database = _open(settings, WORKER_CONNECTIONS, clock)
    relay_database = _open(settings, RELAY_CONNECTIONS, clock)
    opened = asyncio.Event()
    attempts, late = open_runners(database, channels, settings, clock)
    loops = compose_loops(database, attempts, late, clock, opened=opened)
    reactions = consumer(settings, first_calls=attempts)
    kafka = settings.kafka_bootstrap_servers
    dispatch = Dispatch(database, reactions, bootstrap_servers=kafka, on_applied=opened.set)
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


def consumer(settings: PaymentSettings, *, first_calls: FirstCalls | None = None) -> Consumer:
    """The reaction table; needs no connection to any channel."""
    if settings.payment_default_channel not in (*CHANNELS, CHOSEN_BY_PAYER):
        known = ", ".join((*CHANNELS, CHOSEN_BY_PAYER))
        raise SettingsError(f"{variable('payment_default_channel')} must be one of {known}.")
    clock = SystemClock()
    opener = OrderOpener(
        channels=known_channels(settings),
        default_channel=settings.payment_default_channel,
        clock=clock,
        first_calls=first_calls,
    )
    return build_consumer(opener=opener, clock=clock)


COMMANDS = ServiceCommands(
    service=SERVICE,
    settings=PaymentSettings,
    processes={"api": api, "worker": worker},
    consumer=consumer,
    own=(SwitchCommands(CHANNELS).command(),),
)


def _open_client(settings: ChannelSettings) -> httpx2.AsyncClient:
    return open_client(
        call_timeout_seconds=settings.payment_call_timeout_seconds,
        connections=settings.payment_concurrent_calls,
    )


def _stream_limits(settings: ApiSettings) -> StreamLimits:
    return StreamLimits(
        per_process=settings.payment_streams_max,
        per_person=settings.payment_streams_per_person_max,
    )


def _limits(settings: ChannelSettings) -> Limits:
    try:
        return settings.limits
    except ValueError as error:
        raise SettingsError(f"{variable('payment_lease_seconds')} is too short: {error}.") from None


def _open(settings: PaymentSettings, pool_size: int, clock: Clock) -> Database:
    url = settings.database_url.get_secret_value()
    return open_database(url, source=SERVICE, pool_size=pool_size, clock=clock)
