"""What notifier reacts to; the dead-letter commands need it alone."""

from services.notifier.adapters.consumer import consumer as reactions_of
from services.notifier.settings import NotifierSettings
from shared.kernel.clock import SystemClock
from shared.runtime.messaging.consumer import Consumer


def consumer(settings: NotifierSettings) -> Consumer:
    """The reaction table."""
    return reactions_of(SystemClock())
