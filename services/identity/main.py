"""The processes of identity, each composed by a module that imports what that process uses."""

from services.identity.settings import IdentitySettings
from services.identity.wiring.database import SERVICE
from shared.runtime.process.commands import Running, ServiceCommands


def api(settings: IdentitySettings) -> Running:
    from services.identity.wiring.api import api

    return api(settings)


def worker(settings: IdentitySettings) -> Running:
    from services.identity.wiring.worker import worker

    return worker(settings)


COMMANDS = ServiceCommands(
    service=SERVICE,
    settings=IdentitySettings,
    processes={"api": api, "worker": worker},
)
