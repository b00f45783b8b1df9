"""WeChat Pay's cashier: the order that opens it, and what page or app do with the answer."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric import rsa

from services.payment.adapters.wechatpay.calls import a_nonce
from services.payment.adapters.wechatpay.messages import Created
from services.payment.adapters.wechatpay.signing import app_pay_sign, jsapi_pay_sign
from services.payment.application.ports import DueAttempt, PayerDetails
from services.payment.domain.next_action import QrCode, Redirect, SdkFields, Started
from shared.kernel.clock import SHANGHAI
from shared.kernel.money import CURRENCY

DESCRIPTION = "基本养老保险费 {period}"
# The link to the H5 cashier lives this long; the same order asked for again gives a new one.
H5_LINK_TIME = timedelta(minutes=5)
# The session behind a prepay id or a QR code.
PREPAY_TIME = timedelta(hours=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class WechatpayAccount:
    """Who we are there."""

    url: str
    app_id: str
    merchant_id: str
    notify_url: str


def order(account: WechatpayAccount, due: DueAttempt, payer: PayerDetails) -> dict[str, Any]:
    """Made of the attempt and the payer only: asking again must ask for exactly the same."""
    expires_at = due.attempt.expires_at.astimezone(SHANGHAI)
    asked: dict[str, Any] = {
        "appid": account.app_id,
        "mchid": account.merchant_id,
        "description": DESCRIPTION.format(period=due.period),
        "out_trade_no": due.attempt.number,
        "time_expire": expires_at.isoformat(timespec="seconds"),
        "notify_url": account.notify_url,
        "amount": {"total": due.attempt.amount.fen, "currency": CURRENCY},
    }
    if payer.method == "jsapi":
        asked["payer"] = {"openid": payer.openid}
    if payer.method == "h5":
        asked["scene_info"] = {
            "payer_client_ip": payer.client_address,
            "h5_info": {"type": "Wap"},
        }
    return asked


def started(
    created: Created,
    *,
    account: WechatpayAccount,
    key: rsa.RSAPrivateKey,
    payer: PayerDetails,
    expires_at: datetime,
    now: datetime,
) -> Started | None:
    """What the payer does next; None where the answer lacks what was asked for."""
    useful_until = min(now + PREPAY_TIME, expires_at)
    match payer.method:
        case "h5" if created.h5_url:
            url = created.h5_url
            if payer.return_url:
                url += f"&redirect_url={quote(payer.return_url, safe='')}"
            return Started(Redirect(url), min(now + H5_LINK_TIME, expires_at))
        case "native" if created.code_url:
            return Started(QrCode(created.code_url), useful_until)
        case "jsapi" if created.prepay_id:
            return Started(_page_fields(created.prepay_id, account, key, now), useful_until)
        case "app" if created.prepay_id:
            return Started(_app_fields(created.prepay_id, account, key, now), useful_until)
    return None


def _page_fields(
    prepay_id: str, account: WechatpayAccount, key: rsa.RSAPrivateKey, now: datetime
) -> SdkFields:
    timestamp, nonce, package = str(int(now.timestamp())), a_nonce(), f"prepay_id={prepay_id}"
    signature = jsapi_pay_sign(
        key, app_id=account.app_id, timestamp=timestamp, nonce=nonce, package=package
    )
    return SdkFields(
        (
            ("appId", account.app_id),
            ("timeStamp", timestamp),
            ("nonceStr", nonce),
            ("package", package),
            ("signType", "RSA"),
            ("paySign", signature),
        )
    )


def _app_fields(
    prepay_id: str, account: WechatpayAccount, key: rsa.RSAPrivateKey, now: datetime
) -> SdkFields:
    timestamp, nonce = str(int(now.timestamp())), a_nonce()
    signature = app_pay_sign(
        key, app_id=account.app_id, timestamp=timestamp, nonce=nonce, prepay_id=prepay_id
    )
    return SdkFields(
        (
            ("appid", account.app_id),
            ("partnerid", account.merchant_id),
            ("prepayid", prepay_id),
            ("package", "Sign=WXPay"),
            ("noncestr", nonce),
            ("timestamp", timestamp),
            ("sign", signature),
        )
    )
