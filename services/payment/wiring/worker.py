"""The worker of payment, from its parts."""

import asyncio
from dataclasses import replace
from functools import partial

from services.payment.adapters.bank.direct_debit import BANK_DIRECT_DEBIT, BankDirectDebitChannel
from services.payment.adapters.channels.measured import MeasuredDirectChannel
from services.payment.adapters.channels.pace import ChannelPace
from services.payment.adapters.postgres.gauges import PaymentGauges
from services.payment.adapters.postgres.refused_notifications import delete_old
from services.payment.adapters.postgres.unit import statements_of, transactions_of
from services.payment.application.announce_channels import ChannelAnnouncer
from services.payment.application.expire_orders import expire_orders
from services.payment.application.ports import Channels
from services.payment.application.repeat_unexpected_money import repeat_unexpected_money
from services.payment.application.run_attempts import LATE_CALLS, AttemptRunner
from services.payment.settings import PaymentSettings, WorkerSettings
from services.payment.wiring.channels import (
    Closing,
    declare_moves,
    known_channels,
    limits_of,
    open_measured_cashiers,
    open_pooled_client,
)
from services.payment.wiring.database import SERVICE, open_pool
from services.payment.wiring.reactions import consumer
from shared.kernel.clock import Clock, SystemClock
from shared.runtime.database.database import Database, is_transient
from shared.runtime.messaging import housekeeping
from shared.runtime.messaging.dispatch import Dispatch
from shared.runtime.messaging.relay import Relay
from shared.runtime.process.call_loop import CallLoop
from shared.runtime.process.due_loop import DueLoop
from shared.runtime.process.health import service_health
from shared.runtime.process.process import Component, run_process
from shared.runtime.process.settings import read_settings

WORKER_CONNECTIONS = 2
RELAY_CONNECTIONS = 1
# For what other processes opened; what our own dispatch opened is begun at once.
ATTEMPTS_IDLE_SECONDS = 0.1
UNEXPECTED_IDLE_SECONDS = 5.0
EXPIRY_IDLE_SECONDS = 5.0
LATE_IDLE_SECONDS = 5.0
# How soon a turned switch is announced.
ANNOUNCE_IDLE_SECONDS = 2.0
GAUGES_SECONDS = 15.0


async def worker(settings: PaymentSettings) -> int:
    """Hears billing, asks the channels, and sends what payment tells."""
    settings = read_settings(WorkerSettings)
    clock, pace = SystemClock(), ChannelPace()
    channels, closing = open_measured_cashiers(settings, pace, clock)
    if settings.bank_url is not None:
        client = open_pooled_client(settings)
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
    database = open_pool(settings, WORKER_CONNECTIONS, clock)
    relay_database = open_pool(settings, RELAY_CONNECTIONS, clock)
    opened = asyncio.Event()
    attempts, late = open_runners(database, channels, settings, clock)
    loops = compose_loops(database, attempts, late, clock, opened=opened)
    announcer = announcer_of(database, channels, settings, clock)
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
            DueLoop("announce_channels", announcer.step, idle_seconds=ANNOUNCE_IDLE_SECONDS),
            DueLoop("gauges", gauges.step, idle_seconds=GAUGES_SECONDS),
            DueLoop("payment_gauges", own_gauges.step, idle_seconds=GAUGES_SECONDS),
            relay,
        ],
        closing=[*closing, database.close, relay_database.close],
        grace_seconds=settings.shutdown_grace_seconds,
        health=service_health(database, service=SERVICE, watched=[dispatch, relay]),
        operations=settings.metrics_address(),
    )


def announcer_of(
    database: Database, channels: Channels, settings: PaymentSettings, clock: Clock
) -> ChannelAnnouncer:
    """Announces every channel; those that this process calls are configured."""
    called = {id: channel.capabilities for id, channel in channels.items()}
    return ChannelAnnouncer(
        transactions=transactions_of(database),
        channels={**known_channels(settings), **called},
        configured=frozenset(called),
        default_channel=settings.payment_default_channel,
        clock=clock,
    )


def open_runners(
    database: Database, channels: Channels, settings: WorkerSettings, clock: Clock
) -> tuple[AttemptRunner, AttemptRunner]:
    """Who asks channels about open attempts, and who about those that may be paid late."""
    limits = limits_of(settings)
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
        CallLoop("attempts", attempts, idle_seconds=ATTEMPTS_IDLE_SECONDS, wake=opened),
        CallLoop("late_money", late, idle_seconds=LATE_IDLE_SECONDS),
        DueLoop("unexpected_money", repeat, idle_seconds=UNEXPECTED_IDLE_SECONDS),
        DueLoop("expire_orders", expire, idle_seconds=EXPIRY_IDLE_SECONDS),
        DueLoop("clean_notifications", clean, idle_seconds=housekeeping.IDLE_SECONDS),
    ]
