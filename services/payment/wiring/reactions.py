"""What payment reacts to; the dead-letter commands need it without any channel."""

from services.payment.adapters.consumer import build_consumer
from services.payment.application.open_orders import OrderOpener
from services.payment.application.ports import FirstCalls
from services.payment.domain.payment_order import CHOSEN_BY_PAYER
from services.payment.settings import PaymentSettings
from services.payment.wiring.channels import CHANNELS, known_channels
from shared.kernel.clock import SystemClock
from shared.runtime.messaging.consumer import Consumer
from shared.runtime.process.settings import SettingsError, variable


def consumer(settings: PaymentSettings, *, first_calls: FirstCalls | None = None) -> Consumer:
    """The reaction table; needs no connection to any channel."""
    if settings.payment_default_channel not in (*CHANNELS, CHOSEN_BY_PAYER):
        known = ", ".join((*CHANNELS, CHOSEN_BY_PAYER))
        raise SettingsError(f"{variable('payment_default_channel')} must be one of {known}.")
    clock = SystemClock()
    opener = OrderOpener(
        channels=known_channels(settings),
        default_channel=settings.payment_default_channel,
        clock=clock,
        first_calls=first_calls,
    )
    return build_consumer(opener=opener, clock=clock)
