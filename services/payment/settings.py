"""Settings of payment; only the API knows Redis and identity, only the worker debits accounts."""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field

from services.payment.domain.debit_window import DebitWindow, debit_window
from shared.kernel.leased_calls import Limits
from shared.runtime.process.settings import (
    HttpUrl,
    ProxiedSettings,
    RedisUrl,
    ServiceSettings,
    variable,
)

REACHED_OVER_THE_INTERNET = (
    "alipay_url",
    "alipay_cashier_url",
    "wechatpay_url",
    "payment_callback_base_url",
)
# Where Alipay keeps its own sandbox.
ALIPAY_TEST_DOMAIN = ".alipaydev.com"
ShortName = Annotated[str, Field(min_length=1, max_length=64)]


def _hours(value: str) -> str:
    debit_window(notice=timedelta(0), hours=value)
    return value


class PaymentSettings(ServiceSettings):
    """What every process and command needs."""

    # Takes the orders that name no channel; `chosen-by-payer` waits for the payer's choice.
    payment_default_channel: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")] = (
        "bank-direct-debit"
    )
    # Where the bank takes direct debits, without `/bank/v1`; no address, no channel.
    bank_url: HttpUrl | None = None
    # How long before a debit its payer must have been told, by the contract with the bank.
    bank_notice_seconds: Annotated[int, Field(ge=0, le=30 * 86_400)] = 86_400
    # When accounts may be debited, in China's time; `00:00-24:00` is all day.
    bank_hours: Annotated[str, AfterValidator(_hours)] = "08:00-20:00"

    @property
    def debit_window(self) -> DebitWindow:
        return debit_window(
            notice=timedelta(seconds=self.bank_notice_seconds), hours=self.bank_hours
        )

    def production_faults(self) -> Iterable[str]:
        yield from super().production_faults()
        if self.bank_url is not None:
            yield from _address_faults(variable("bank_url"), urlsplit(self.bank_url))


class ChannelSettings(PaymentSettings):
    """What every process needs that calls channels."""

    # A call to a channel that takes longer is unknown, never failed.
    payment_call_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    # Calls to channels that one process has under way at most.
    payment_concurrent_calls: Annotated[int, Field(ge=1, le=1000)] = 20
    # How long an attempt belongs to one process: at least three times the time of a call.
    payment_lease_seconds: Annotated[float, Field(gt=0, le=600)] = 30.0

    @property
    def limits(self) -> Limits:
        """Raises ValueError where a call could outlive its lease."""
        return Limits(
            concurrent_calls=self.payment_concurrent_calls,
            call_timeout_seconds=self.payment_call_timeout_seconds,
            lease_seconds=self.payment_lease_seconds,
        )


class CashierSettings(ChannelSettings):
    """What every process needs that speaks to Alipay or WeChat Pay; no address, no channel."""

    # Alipay's gateway, without `/gateway.do`.
    alipay_url: HttpUrl | None = None
    # Where a payer's browser finds that gateway, if not there.
    alipay_cashier_url: HttpUrl | None = None
    # Our app there.
    alipay_app_id: Annotated[str, Field(pattern=r"^[0-9]{16}$")] | None = None
    # Our merchant number there.
    alipay_seller_id: Annotated[str, Field(pattern=r"^2088[0-9]{12}$")] | None = None
    # `app/*.pem` our private keys, `platform/*.pem` Alipay's; `root.crt` for certificate mode.
    alipay_keys_dir: Path | None = None
    # WeChat Pay's API, without `/v3`.
    wechatpay_url: HttpUrl | None = None
    # Our app or official account there.
    wechatpay_app_id: Annotated[str, Field(pattern=r"^wx[0-9a-zA-Z]{1,30}$")] | None = None
    # Our merchant number there.
    wechatpay_merchant_id: Annotated[str, Field(pattern=r"^[0-9]{8,10}$")] | None = None
    # `merchant/<serial>.pem` our private keys, `platform/<serial>.pem` theirs, `apiv3/*.key`.
    wechatpay_keys_dir: Path | None = None
    # Where channels reach us from outside.
    payment_callback_base_url: HttpUrl | None = None

    def production_faults(self) -> Iterable[str]:
        yield from super().production_faults()
        for name in REACHED_OVER_THE_INTERNET:
            address = getattr(self, name)
            if address is not None:
                yield from _address_faults(variable(name), urlsplit(address))


def _address_faults(name: str, address: SplitResult) -> Iterable[str]:
    if address.scheme != "https":
        yield f"{name} must be an https:// address in production."
    host = address.hostname or ""
    if "sandbox" in host or host.endswith(ALIPAY_TEST_DOMAIN):
        yield f"{name} is the address of a sandbox, which moves no money."


class ApiSettings(CashierSettings, ProxiedSettings):
    """What only the API needs."""

    https_in_production: ClassVar[tuple[str, ...]] = ("payment_return_base_url",)

    # Where cashiers send the payer's browser back to; without it they send it nowhere.
    payment_return_base_url: HttpUrl | None = None
    redis_url: RedisUrl
    identity_url: HttpUrl
    # Live status streams of one process; one more is answered 503.
    payment_streams_max: Annotated[int, Field(ge=1, le=10_000)] = 500
    # Live status streams of one person in one process; one more is answered 429.
    payment_streams_per_person_max: Annotated[int, Field(ge=1, le=100)] = 5
    # Whom people can call, in Chinese.
    support_name_zh: ShortName = "税务缴费服务热线"
    # Whom people can call, in English.
    support_name_en: ShortName = "Tax service hotline"
    # The number that people can call.
    support_phone: Annotated[str, Field(pattern=r"^[0-9+ -]{3,20}$")] = "12366"


class WorkerSettings(CashierSettings):
    """The worker calls every channel."""
