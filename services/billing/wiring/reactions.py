"""What billing reacts to; the dead-letter commands need it alone."""

from services.billing.adapters.consumer import BILLING
from services.billing.settings import BillingSettings
from shared.runtime.messaging.consumer import Consumer


def consumer(_settings: BillingSettings) -> Consumer:
    """The reaction table."""
    return BILLING
