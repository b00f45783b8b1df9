"""Settings of billing; only the API verifies tokens."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from services.billing.domain.payment_request import AskingPolicy
from shared.runtime.process.settings import HttpUrl, ServiceSettings

Seconds = Annotated[int, Field(ge=1, le=86_400)]


class BillingSettings(ServiceSettings):
    """What every process and command needs."""

    # How long an order may be silent before payment is asked; doubled each time up to the cap.
    billing_ask_after_seconds: Seconds = 30
    billing_ask_cap_seconds: Seconds = 600
    # After so many unanswered questions a person is told.
    billing_ask_item_after: Annotated[int, Field(ge=1, le=1000)] = 8
    billing_order_lifetime_seconds: Seconds = 1800

    @property
    def asking(self) -> AskingPolicy:
        return AskingPolicy(
            first=timedelta(seconds=self.billing_ask_after_seconds),
            cap=timedelta(seconds=self.billing_ask_cap_seconds),
            asks_before_item=self.billing_ask_item_after,
        )

    @property
    def order_lifetime(self) -> timedelta:
        """An order that is not paid by then expires at the channel."""
        return timedelta(seconds=self.billing_order_lifetime_seconds)


class ApiSettings(BillingSettings):
    """What only the API needs."""

    identity_url: HttpUrl
