"""Reading an order of the merchant, and telling of it as a query or a notification does."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from sandbox.trades import NewTrade, Status, Trade
from shared.kernel.clock import SHANGHAI

METHODS = ("h5", "jsapi", "native", "app")
TRADE_TYPES = {"h5": "MWEB", "jsapi": "JSAPI", "native": "NATIVE", "app": "APP"}
STATES: Mapping[Status, tuple[str, str]] = {
    "waiting": ("NOTPAY", "订单未支付"),
    "paid": ("SUCCESS", "支付成功"),
    "finished": ("SUCCESS", "支付成功"),
    "closed": ("CLOSED", "订单已关闭"),
}
OUT_TRADE_NO = re.compile(r"[0-9A-Za-z_\-|*]{6,32}")
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
AMOUNT_FEN_MAX = 10**10
# A prepay id lives for two hours, so an order without an end of its own ends then.
PREPAY_LIVES = timedelta(hours=2)
DESCRIPTION_MAX = 127
H5_TYPES = ("Wap", "iOS", "Android")
PAYER = "oSandboxPayer000000000000001"


class ApiError(Exception):
    """An error of the API: a status, a code, a sentence."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Merchant:
    app_id: str
    merchant_id: str


def wrong(name: str) -> ApiError:
    return ApiError(400, "PARAM_ERROR", f"参数错误：{name}")


def new_trade(method: str, body: Mapping[str, object], merchant: Merchant) -> NewTrade:
    """The order that the body describes. Raises ApiError."""
    if body.get("appid") != merchant.app_id or body.get("mchid") != merchant.merchant_id:
        raise ApiError(400, "APPID_MCHID_NOT_MATCH", "appid和mch_id不匹配")
    amount = body.get("amount")
    if not isinstance(amount, dict) or amount.get("currency", "CNY") != "CNY":
        raise wrong("amount.currency")
    fen = amount.get("total")
    if type(fen) is not int or not 1 <= fen <= AMOUNT_FEN_MAX:
        raise wrong("amount.total")
    return NewTrade(
        channel="wechatpay",
        out_trade_no=_matching(body.get("out_trade_no"), OUT_TRADE_NO, "out_trade_no"),
        method=method,
        amount_fen=fen,
        description=_text(body.get("description"), DESCRIPTION_MAX, "description"),
        notify_url=_notify_url(body.get("notify_url")),
        passed_back=_text(body.get("attach", " "), 128, "attach").strip(),
        payer=_payer(method, body),
        expires_at=_expires_at(body.get("time_expire")),
    )


def _payer(method: str, body: Mapping[str, object]) -> str:
    """Who may pay: an openid for JSAPI; for H5 the scene must name the payer's address."""
    if method == "jsapi":
        return _text(_member(body, "payer", "openid"), 128, "payer.openid")
    if method == "h5":
        _text(_member(body, "scene_info", "payer_client_ip"), 45, "scene_info.payer_client_ip")
        info = _member(body, "scene_info", "h5_info")
        if not isinstance(info, dict) or info.get("type") not in H5_TYPES:
            raise wrong("scene_info.h5_info.type")
    return PAYER


def _member(body: Mapping[str, object], outer: str, inner: str) -> object:
    found = body.get(outer)
    return found.get(inner) if isinstance(found, dict) else None


def _text(value: object, length_max: int, name: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= length_max:
        raise wrong(name)
    return value


def _matching(value: object, pattern: re.Pattern[str], name: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise wrong(name)
    return value


def _notify_url(value: object) -> str:
    """https in the real world; the sandbox notifies a merchant on the same machine."""
    url = _text(value, 256, "notify_url")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.query:
        raise wrong("notify_url")
    return url


def _expires_at(value: object) -> datetime:
    if value is None:
        return datetime.now(UTC) + PREPAY_LIVES
    try:
        end = datetime.fromisoformat(_matching(value, RFC3339, "time_expire"))
    except ValueError:
        raise wrong("time_expire") from None
    if end <= datetime.now(UTC):
        raise wrong("time_expire")
    return end


def view(trade: Trade, merchant: Merchant, *, paid_fen: int | None = None) -> dict[str, object]:
    """The trade as a query tells it; a notification tells the same of a paid one."""
    state, description = STATES[trade.status]
    found: dict[str, object] = {
        "appid": merchant.app_id,
        "mchid": merchant.merchant_id,
        "out_trade_no": trade.out_trade_no,
        "trade_state": state,
        "trade_state_desc": description,
    }
    if not trade.is_paid or trade.paid_at is None:
        return found | {"amount": {"total": trade.amount_fen, "currency": "CNY"}}
    fen = paid_fen or trade.paid_fen or trade.amount_fen
    return found | {
        "transaction_id": trade.trade_no,
        "trade_type": TRADE_TYPES[trade.method],
        "bank_type": "OTHERS",
        "attach": trade.passed_back,
        "success_time": shanghai_rfc3339(trade.paid_at),
        "payer": {"openid": trade.payer},
        "amount": {
            "total": fen,
            "payer_total": fen,
            "currency": "CNY",
            "payer_currency": "CNY",
        },
    }


def shanghai_rfc3339(text: str) -> str:
    return datetime.fromisoformat(text).astimezone(SHANGHAI).isoformat(timespec="seconds")
