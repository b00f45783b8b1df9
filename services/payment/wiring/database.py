"""Which database payment has, and how many connections a process of it opens."""

from services.payment.settings import PaymentSettings
from shared.kernel.clock import Clock
from shared.runtime.database.database import Database, open_database

SERVICE = "payment"


def open_pool(settings: PaymentSettings, pool_size: int, clock: Clock) -> Database:
    url = settings.database_url.get_secret_value()
    return open_database(url, source=SERVICE, pool_size=pool_size, clock=clock)
