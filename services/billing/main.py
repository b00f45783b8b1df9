"""The processes of billing, each composed by a module that imports what that process uses."""

from services.billing.settings import BillingSettings
from services.billing.wiring.database import SERVICE
from shared.runtime.messaging.consumer import Consumer
from shared.runtime.process.commands import Running, ServiceCommands


def api(settings: BillingSettings) -> Running:
    from services.billing.wiring.api import api

    return api(settings)


def worker(settings: BillingSettings) -> Running:
    from services.billing.wiring.worker import worker

    return worker(settings)


def consumer(settings: BillingSettings) -> Consumer:
    from services.billing.wiring.reactions import consumer

    return consumer(settings)


COMMANDS = ServiceCommands(
    service=SERVICE,
    settings=BillingSettings,
    processes={"api": api, "worker": worker},
    consumer=consumer,
)
