"""A worker in core mode: `python -m testing.stacks.core_process <service> worker`.

It is the service's own worker, composed as the product composes it; only channel, SMS gateway and
contacts are replaced by the in-process world. `SONGHE_CORE_BOOK_DIR` names the book's folder.
Billing calls nobody outside, so its worker is the product's as it is.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from services.billing import main as billing
from services.notifier import main as notifier
from services.notifier.settings import NotifierSettings
from services.notifier.settings import WorkerSettings as NotifierWorkerSettings
from services.notifier.wiring import worker as notifier_worker
from services.payment import main as payment
from services.payment.adapters.bank.direct_debit import BANK_DIRECT_DEBIT
from services.payment.adapters.channels.measured import MeasuredDirectChannel
from services.payment.settings import PaymentSettings
from services.payment.settings import WorkerSettings as PaymentWorkerSettings
from services.payment.wiring import worker as payment_worker
from shared.runtime.process import commands
from shared.runtime.process.commands import ServiceCommands
from shared.runtime.process.settings import read_settings
from testing.stacks.book import Book
from testing.stacks.in_process_world import InProcessChannel, InProcessGateway, KnownContacts
from testing.stacks.sampler import sample_to

BOOK_DIR = "SONGHE_CORE_BOOK_DIR"
# Where set, the worker samples its own stacks into a file there.
PROFILE_DIR = "SONGHE_CORE_PROFILE_DIR"


async def _payment_worker(_settings: PaymentSettings) -> int:
    channel = MeasuredDirectChannel(InProcessChannel(_book()))
    return await payment_worker.run_worker(
        read_settings(PaymentWorkerSettings), channels={BANK_DIRECT_DEBIT.id: channel}, closing=[]
    )


async def _notifier_worker(_settings: NotifierSettings) -> int:
    return await notifier_worker.run_worker(
        read_settings(NotifierWorkerSettings),
        contacts=KnownContacts(),
        provider=InProcessGateway(_book()),
        closing=[],
    )


def commands_of(service: str) -> ServiceCommands[Any]:
    """The service's own commands, with its worker in core mode."""
    known: dict[str, ServiceCommands[Any]] = {
        "billing": billing.COMMANDS,
        "payment": replace(
            payment.COMMANDS, processes={**payment.COMMANDS.processes, "worker": _payment_worker}
        ),
        "notifier": replace(notifier.COMMANDS, processes={"worker": _notifier_worker}),
    }
    if service not in known:
        sys.exit(f"There is no {service} in core mode; there are {', '.join(known)}.")
    return known[service]


def main(arguments: list[str]) -> NoReturn:
    """Run a command of a service in core mode and exit with its code."""
    if not arguments:
        sys.exit("Say which service: billing, payment or notifier.")
    if PROFILE_DIR in os.environ:
        sample_to(Path(os.environ[PROFILE_DIR]) / f"{arguments[0]}-{os.getpid()}.stacks")
    commands.main(commands_of(arguments[0]), arguments[1:])


def _book() -> Book:
    return Book(Path(os.environ[BOOK_DIR]))


if __name__ == "__main__":
    main(sys.argv[1:])
