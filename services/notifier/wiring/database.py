"""Which database notifier has, and how a process of it opens it."""

from services.notifier.settings import NotifierSettings
from shared.kernel.clock import Clock
from shared.runtime.database.database import Database, open_database

SERVICE = "notifier"


def open_pool(settings: NotifierSettings, pool_size: int, clock: Clock) -> Database:
    url = settings.database_url.get_secret_value()
    return open_database(url, source=SERVICE, pool_size=pool_size, clock=clock)
