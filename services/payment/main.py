"""The processes of payment, each composed by a module that imports what that process uses."""

from services.payment.settings import PaymentSettings
from services.payment.switch_commands import SwitchCommands
from services.payment.wiring.channels import CHANNELS
from services.payment.wiring.database import SERVICE
from shared.runtime.messaging.consumer import Consumer
from shared.runtime.process.commands import Running, ServiceCommands


def api(settings: PaymentSettings) -> Running:
    from services.payment.wiring.api import api

    return api(settings)


def worker(settings: PaymentSettings) -> Running:
    from services.payment.wiring.worker import worker

    return worker(settings)


def consumer(settings: PaymentSettings) -> Consumer:
    from services.payment.wiring.reactions import consumer

    return consumer(settings)


COMMANDS = ServiceCommands(
    service=SERVICE,
    settings=PaymentSettings,
    processes={"api": api, "worker": worker},
    consumer=consumer,
    own=(SwitchCommands(CHANNELS).command(),),
)
