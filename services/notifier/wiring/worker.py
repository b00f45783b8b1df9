"""The worker of notifier, from its parts."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from services.notifier.adapters.identity.contacts import IdentityContacts, open_redis
from services.notifier.adapters.jinja_texts import JinjaTexts
from services.notifier.adapters.metrics import SMS_ENDED, SMS_SECONDS
from services.notifier.adapters.postgres.unit import statements_of, transactions_of
from services.notifier.adapters.sms.provider import HttpSmsProvider
from services.notifier.application.deliver_messages import DeliverMessages
from services.notifier.application.ports import Contacts, SmsProvider
from services.notifier.domain.deliveries import Delivery, Schedule
from services.notifier.domain.notifications import SMS_STATES, Channel
from services.notifier.settings import NotifierSettings, WorkerSettings
from services.notifier.wiring.database import SERVICE, open_pool
from services.notifier.wiring.reactions import consumer
from shared.kernel.clock import Clock, SystemClock
from shared.runtime.database.database import is_transient
from shared.runtime.ground.metrics import declare_transitions
from shared.runtime.keys.sealing import Sealer
from shared.runtime.keys.service_token import ServiceSigner
from shared.runtime.messaging import housekeeping
from shared.runtime.messaging.dispatch import Dispatch
from shared.runtime.process.call_loop import CallLoop
from shared.runtime.process.due_loop import DueLoop
from shared.runtime.process.health import service_health
from shared.runtime.process.process import run_process
from shared.runtime.process.settings import read_settings

WORKER_CONNECTIONS = 2
# How soon an SMS goes out after its event was recorded, at the latest.
SMS_IDLE_SECONDS = 0.2
GAUGES_SECONDS = 15.0

Closing = Sequence[Callable[[], Awaitable[None]]]


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
    declare_transitions(SMS_STATES)
    database = open_pool(settings, WORKER_CONNECTIONS, clock)
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


def _count_end(clock: Clock, delivery: Delivery) -> None:
    status = delivery.status.value.lower()
    SMS_ENDED.labels(delivery.template, Channel.SMS.value, status).inc()
    seconds = (clock.now() - delivery.occurred_at).total_seconds()
    SMS_SECONDS.labels(status).observe(max(0.0, seconds))
