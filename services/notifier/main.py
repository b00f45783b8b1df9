"""The composition root of notifier: the only file that knows every other."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from fastapi import FastAPI

from services.notifier.adapters.consumer import consumer as reactions_of
from services.notifier.adapters.http.api import Parts, router
from services.notifier.adapters.identity.contacts import IdentityContacts, open_redis
from services.notifier.adapters.jinja_texts import JinjaTexts
from services.notifier.adapters.metrics import SMS_ENDED, SMS_SECONDS
from services.notifier.adapters.postgres.unit import statements_of, transactions_of
from services.notifier.adapters.sms.provider import HttpSmsProvider
from services.notifier.application.deliver_messages import DeliverMessages
from services.notifier.application.ports import Contacts, SmsProvider
from services.notifier.domain.deliveries import Delivery, Schedule
from services.notifier.domain.notifications import SMS_STATES, Channel
from services.notifier.settings import ApiSettings, NotifierSettings, WorkerSettings
from shared.kernel.clock import Clock, SystemClock
from shared.runtime.database.database import Database, is_transient, open_database
from shared.runtime.ground.metrics import count_transitions
from shared.runtime.http.server import serve
from shared.runtime.http.web import build_app
from shared.runtime.keys.access_token import AccessTokens, Jwks, KeySource
from shared.runtime.keys.sealing import Sealer
from shared.runtime.keys.service_token import ServiceSigner
from shared.runtime.messaging import housekeeping
from shared.runtime.messaging.consumer import Consumer
from shared.runtime.messaging.dispatch import Dispatch
from shared.runtime.process.call_loop import CallLoop
from shared.runtime.process.commands import ServiceCommands
from shared.runtime.process.due_loop import DueLoop
from shared.runtime.process.health import service_health
from shared.runtime.process.process import run_process
from shared.runtime.process.settings import read_settings

SERVICE = "notifier"
# docs/connection-budget.md
API_CONNECTIONS = 1
WORKER_CONNECTIONS = 2
# How soon an SMS goes out after its event was recorded, at the latest.
SMS_IDLE_SECONDS = 0.2
GAUGES_SECONDS = 15.0

Closing = Sequence[Callable[[], Awaitable[None]]]


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
    database = _open(settings, API_CONNECTIONS, SystemClock())
    jwks = Jwks(settings.identity_url)
    app = compose_api(settings, database, jwks)
    return await run_process(
        [serve(app, address.host, address.port), jwks],
        closing=[jwks.close, database.close],
        grace_seconds=settings.shutdown_grace_seconds,
        health=service_health(database, service=SERVICE),
        operations=settings.metrics_address(),
    )


async def worker(settings: NotifierSettings) -> int:
    """Hears billing and payment, and tells people. It publishes nothing."""
    settings = read_settings(WorkerSettings)
    connections = settings.notifier_concurrent_calls
    redis = open_redis(settings.redis_url.get_secret_value(), connections=connections)
    contacts = IdentityContacts(
        settings.identity_url,
        signer=ServiceSigner(settings.service_key_file, service=SERVICE),
        redis=redis,
        sealer=Sealer.from_file(settings.contact_cache_key_file),
        connections=connections,
    )
    provider = HttpSmsProvider(settings.sms_url, connections=connections)
    closing = [contacts.close, provider.close, redis.aclose]
    return await run_worker(settings, contacts=contacts, provider=provider, closing=closing)


async def run_worker(
    settings: WorkerSettings, *, contacts: Contacts, provider: SmsProvider, closing: Closing
) -> int:
    """The worker over these contacts and this gateway; `closing` ends what they need."""
    clock = SystemClock()
    count_transitions(SMS_STATES)
    database = _open(settings, WORKER_CONNECTIONS, clock)
    deliver = DeliverMessages(
        transactions_of(database),
        statements=statements_of(database),
        contacts=contacts,
        provider=provider,
        texts=JinjaTexts(hotline=settings.support_phone),
        clock=clock,
        schedule=Schedule(),
        ended=partial(_count_end, clock),
        is_transient=is_transient,
        calls_at_once=settings.notifier_concurrent_calls,
    )
    reactions = consumer(settings)
    kafka = settings.kafka_bootstrap_servers
    dispatch = Dispatch(database, reactions, bootstrap_servers=kafka)
    cleaning = housekeeping.Housekeeping(database, clock)
    gauges = housekeeping.Gauges(database, consumer=reactions.name)
    return await run_process(
        [
            dispatch,
            CallLoop("sms", deliver, idle_seconds=SMS_IDLE_SECONDS),
            DueLoop("housekeeping", cleaning.step, idle_seconds=housekeeping.IDLE_SECONDS),
            DueLoop("gauges", gauges.step, idle_seconds=GAUGES_SECONDS),
        ],
        closing=[*closing, database.close],
        grace_seconds=settings.shutdown_grace_seconds,
        health=service_health(database, service=SERVICE, watched=[dispatch]),
        operations=settings.metrics_address(),
    )


def consumer(settings: NotifierSettings) -> Consumer:
    """The reaction table."""
    return reactions_of(SystemClock())


COMMANDS = ServiceCommands(
    service=SERVICE,
    settings=NotifierSettings,
    processes={"api": api, "worker": worker},
    consumer=consumer,
)


def _count_end(clock: Clock, delivery: Delivery) -> None:
    status = delivery.status.value.lower()
    SMS_ENDED.labels(delivery.template, Channel.SMS.value, status).inc()
    seconds = (clock.now() - delivery.occurred_at).total_seconds()
    SMS_SECONDS.labels(status).observe(max(0.0, seconds))


def _open(settings: NotifierSettings, pool_size: int, clock: Clock) -> Database:
    url = settings.database_url.get_secret_value()
    return open_database(url, source=SERVICE, pool_size=pool_size, clock=clock)
