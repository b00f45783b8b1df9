"""Settings of payment; only the API knows Redis and identity, only the worker the channels."""

from collections.abc import Iterable
from typing import Annotated, ClassVar

from pydantic import Field

from services.payment.application.run_attempts import Limits
from shared.runtime.settings import HttpUrl, RedisUrl, ServiceSettings, variable

ShortName = Annotated[str, Field(min_length=1, max_length=64)]


class PaymentSettings(ServiceSettings):
    """What every process and command needs."""

    # Takes the orders that name no channel.
    payment_default_channel: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")] = (
        "sandbox-direct"
    )


class ApiSettings(PaymentSettings):
    """What only the API needs."""

    redis_url: RedisUrl
    identity_url: HttpUrl
    payment_streams_max: Annotated[int, Field(ge=1, le=10_000)] = 500
    payment_streams_per_person_max: Annotated[int, Field(ge=1, le=100)] = 5
    support_name_zh: ShortName = "税务缴费服务热线"
    support_name_en: ShortName = "Tax service hotline"
    support_phone: Annotated[str, Field(pattern=r"^[0-9+ -]{3,20}$")] = "12366"


class WorkerSettings(PaymentSettings):
    """What only the worker needs."""

    https_in_production: ClassVar[tuple[str, ...]] = ("sandbox_direct_url",)

    sandbox_direct_url: HttpUrl
    payment_call_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    payment_concurrent_calls: Annotated[int, Field(ge=1, le=1000)] = 20
    payment_lease_seconds: Annotated[float, Field(gt=0, le=600)] = 30.0

    @property
    def limits(self) -> Limits:
        """Raises ValueError where a call could outlive its lease."""
        return Limits(
            concurrent_calls=self.payment_concurrent_calls,
            call_timeout_seconds=self.payment_call_timeout_seconds,
            lease_seconds=self.payment_lease_seconds,
        )

    def production_faults(self) -> Iterable[str]:
        yield from super().production_faults()
        yield f"{variable('sandbox_direct_url')} must not be used in production: it moves no money."
