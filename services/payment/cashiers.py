"""Opens the cashier channels that the settings configure; without its address a channel is none."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import httpx2

from services.payment.adapters.alipay.calls import AlipayAccount
from services.payment.adapters.alipay.channel import ALIPAY, AlipayChannel
from services.payment.adapters.alipay.keys import AlipayKeyFolder
from services.payment.adapters.channels.http import ChannelHttp
from services.payment.adapters.wechatpay.cashier import WechatpayAccount
from services.payment.adapters.wechatpay.channel import WECHATPAY, WechatpayChannel
from services.payment.adapters.wechatpay.keys import WechatpayKeyFolder
from services.payment.application.ports import CashierChannel
from services.payment.settings import CashierSettings
from shared.kernel.clock import Clock
from shared.runtime.keys.key_files import KeyFileError
from shared.runtime.process.settings import SettingsError, variable

# The path of services/payment's API at which every channel's notifications arrive.
NOTIFICATIONS = "/payment/v1/channels/{channel}/notifications"

CASHIERS = (ALIPAY.id, WECHATPAY.id)

Value = TypeVar("Value")
Keys = TypeVar("Keys")


def open_cashiers(
    settings: CashierSettings,
    *,
    clients: Mapping[str, httpx2.AsyncClient],
    call_timeout_seconds: float,
    clock: Clock,
) -> dict[str, CashierChannel]:
    """By channel id, like `clients`. Raises SettingsError where one is configured by half."""
    channels: dict[str, CashierChannel] = {}
    if settings.alipay_url is not None:
        http = ChannelHttp(
            clients[ALIPAY.id], channel=ALIPAY.id, timeout_seconds=call_timeout_seconds
        )
        channels[ALIPAY.id] = _alipay(settings, settings.alipay_url, http, clock)
    if settings.wechatpay_url is not None:
        http = ChannelHttp(
            clients[WECHATPAY.id], channel=WECHATPAY.id, timeout_seconds=call_timeout_seconds
        )
        channels[WECHATPAY.id] = _wechatpay(settings, settings.wechatpay_url, http, clock)
    return channels


def _alipay(settings: CashierSettings, url: str, http: ChannelHttp, clock: Clock) -> AlipayChannel:
    account = AlipayAccount(
        url=url,
        cashier_url=settings.alipay_cashier_url or url,
        app_id=_needed("alipay_app_id", settings.alipay_app_id),
        seller_id=_needed("alipay_seller_id", settings.alipay_seller_id),
        notify_url=_notify_url(settings, ALIPAY.id),
    )
    keys = _keys("alipay_keys_dir", settings.alipay_keys_dir, AlipayKeyFolder)
    return AlipayChannel(http, account=account, keys=keys, clock=clock)


def _wechatpay(
    settings: CashierSettings, url: str, http: ChannelHttp, clock: Clock
) -> WechatpayChannel:
    account = WechatpayAccount(
        url=url,
        app_id=_needed("wechatpay_app_id", settings.wechatpay_app_id),
        merchant_id=_needed("wechatpay_merchant_id", settings.wechatpay_merchant_id),
        notify_url=_notify_url(settings, WECHATPAY.id),
    )
    keys = _keys("wechatpay_keys_dir", settings.wechatpay_keys_dir, WechatpayKeyFolder)
    return WechatpayChannel(http, account=account, keys=keys, clock=clock)


def _notify_url(settings: CashierSettings, channel: str) -> str:
    base = _needed("payment_callback_base_url", settings.payment_callback_base_url)
    return base + NOTIFICATIONS.format(channel=channel)


def _needed(name: str, value: Value | None) -> Value:
    if value is None:
        raise SettingsError(f"{variable(name)} is missing: a configured channel needs it.")
    return value


def _keys(name: str, folder: Path | None, read: Callable[[Path], Keys]) -> Keys:
    try:
        return read(_needed(name, folder))
    except KeyFileError as error:
        raise SettingsError(f"{variable(name)} is wrong ({error}).") from None
