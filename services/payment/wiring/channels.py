"""Which channels there are, and how those are opened that the settings configure."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import httpx2

from services.payment.adapters.alipay.channel import ALIPAY
from services.payment.adapters.bank.direct_debit import BANK_DIRECT_DEBIT
from services.payment.adapters.channels.http import open_client
from services.payment.adapters.channels.measured import MeasuredCashierChannel
from services.payment.adapters.channels.pace import ChannelPace
from services.payment.adapters.wechatpay.channel import WECHATPAY
from services.payment.application.ports import AnyChannel
from services.payment.cashiers import CASHIERS, open_cashiers
from services.payment.domain.channel import Capabilities
from services.payment.domain.payment_attempt import ATTEMPT_TRANSITIONS
from services.payment.domain.payment_order import ORDER_TRANSITIONS
from services.payment.domain.refund import REFUND_TRANSITIONS
from services.payment.settings import CashierSettings, ChannelSettings, PaymentSettings
from shared.kernel.clock import Clock
from shared.kernel.leased_calls import Limits
from shared.runtime.ground.metrics import declare_transitions
from shared.runtime.process.settings import SettingsError, variable

# What is known of each channel, whether or not this process calls it.
CHANNELS: Mapping[str, Capabilities] = {
    channel.id: channel for channel in (ALIPAY, WECHATPAY, BANK_DIRECT_DEBIT)
}

Closing = list[Callable[[], Awaitable[None]]]


def known_channels(settings: PaymentSettings) -> dict[str, Capabilities]:
    """Every channel, and what the settings say of the one that our own server starts."""
    bank = replace(
        BANK_DIRECT_DEBIT,
        usable=settings.bank_url is not None,
        debit_window=settings.debit_window,
    )
    return {**CHANNELS, bank.id: bank}


def open_measured_cashiers(
    settings: CashierSettings, pace: ChannelPace, clock: Clock
) -> tuple[dict[str, AnyChannel], Closing]:
    """The cashiers that the settings configure, by id, and what must be closed after them."""
    # A pool of its own for each: a channel that hangs holds up no other.
    clients = {id: open_pooled_client(settings) for id in CASHIERS}
    opened = open_cashiers(
        settings,
        clients=clients,
        call_timeout_seconds=settings.payment_call_timeout_seconds,
        clock=clock,
    )
    measured = {id: MeasuredCashierChannel(cashier, pace) for id, cashier in opened.items()}
    return {**measured}, [client.aclose for client in clients.values()]


def open_pooled_client(settings: ChannelSettings) -> httpx2.AsyncClient:
    return open_client(
        call_timeout_seconds=settings.payment_call_timeout_seconds,
        connections=settings.payment_concurrent_calls,
    )


def limits_of(settings: ChannelSettings) -> Limits:
    try:
        return settings.limits
    except ValueError as error:
        raise SettingsError(f"{variable('payment_lease_seconds')} is too short: {error}.") from None


def declare_moves() -> None:
    """Every move of payment's state machines is shown, in whichever process it happens."""
    declare_transitions(ORDER_TRANSITIONS)
    declare_transitions(ATTEMPT_TRANSITIONS)
    declare_transitions(REFUND_TRANSITIONS)
