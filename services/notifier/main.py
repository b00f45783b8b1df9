"""The processes of notifier, each composed by a module that imports what that process uses."""

from services.notifier.settings import NotifierSettings
from services.notifier.wiring.database import SERVICE
from shared.runtime.messaging.consumer import Consumer
from shared.runtime.process.commands import Running, ServiceCommands


def api(settings: NotifierSettings) -> Running:
    from services.notifier.wiring.api import api

    return api(settings)


def worker(settings: NotifierSettings) -> Running:
    from services.notifier.wiring.worker import worker

    return worker(settings)


def stream(settings: NotifierSettings) -> Running:
    from services.notifier.wiring.stream import stream

    return stream(settings)


def consumer(settings: NotifierSettings) -> Consumer:
    from services.notifier.wiring.reactions import consumer

    return consumer(settings)


COMMANDS = ServiceCommands(
    service=SERVICE,
    settings=NotifierSettings,
    processes={"api": api, "worker": worker, "stream": stream},
    consumer=consumer,
)
