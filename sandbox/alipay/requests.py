"""Reading a request: parameters from query and form, the checks of the gateway, the order in it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NewType
from urllib.parse import parse_qsl, urlsplit

from sandbox.alipay.signing import is_request_signed
from sandbox.json_object import parse_object
from sandbox.rsa import AlipayKeys
from sandbox.trades import NewTrade
from shared.kernel.clock import SHANGHAI

Parameters = NewType("Parameters", dict[str, str])

METHODS = {
    "alipay.trade.wap.pay": ("wap", "QUICK_WAP_WAY"),
    "alipay.trade.app.pay": ("app", "QUICK_MSECURITY_PAY"),
    "alipay.trade.precreate": ("qr", ""),
    "alipay.trade.query": ("", ""),
    "alipay.trade.close": ("", ""),
}
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
# A string for the app may be signed long before the payer taps; the order's own end counts more.
TIMESTAMP_TOLERANCE = timedelta(days=1)
OUT_TRADE_NO = re.compile(r"[0-9A-Za-z_]{1,64}")
AMOUNT = re.compile(r"(0|[1-9][0-9]{0,8})\.[0-9]{2}")
AMOUNT_FEN_MAX = 100_000_000 * 100
TIMEOUT = re.compile(r"([1-9][0-9]{0,4})([mhd])|1c")
TIMEOUT_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
# Where an order says nothing of its end, and the most that it may say.
TIMEOUT_MAX = timedelta(days=15)


class Rejected(Exception):
    """The gateway's answer to a request that it does not carry out."""

    def __init__(self, code: str, message: str, sub_code: str, sub_message: str) -> None:
        super().__init__(f"{code} {sub_code}")
        self.body = {
            "code": code,
            "msg": message,
            "sub_code": sub_code,
            "sub_msg": sub_message,
        }


@dataclass(frozen=True, slots=True)
class Merchant:
    app_id: str
    seller_id: str


def missing(sub_code: str, name: str) -> Rejected:
    return Rejected("40001", "Missing Required Arguments", sub_code, f"缺少{name}参数")


def invalid(sub_code: str, sub_message: str) -> Rejected:
    return Rejected("40002", "Invalid Arguments", sub_code, sub_message)


def failed(sub_code: str, sub_message: str) -> Rejected:
    return Rejected("40004", "Business Failed", sub_code, sub_message)


def read_parameters(query: bytes, form: bytes) -> Parameters:
    """Raises Rejected for text that is not UTF-8 and for a parameter that comes twice."""
    found: dict[str, str] = {}
    for part in (query, form):
        try:
            pairs = parse_qsl(part.decode("ascii"), keep_blank_values=True, errors="strict")
        except ValueError:
            raise invalid("isv.invalid-encoding", "参数不是合法的 utf-8 编码") from None
        for name, value in pairs:
            if name in found:
                raise invalid("isv.invalid-parameter", f"参数{name[:32]}重复")
            found[name] = value
    return Parameters(found)


def check(parameters: Parameters, keys: AlipayKeys, merchant: Merchant) -> None:
    """Raises Rejected unless the merchant that we know has signed exactly this, lately."""
    for name, sub_code in (
        ("app_id", "isv.missing-app-id"),
        ("sign_type", "isv.missing-signature-type"),
        ("sign", "isv.missing-signature"),
        ("timestamp", "isv.missing-timestamp"),
        ("version", "isv.missing-version"),
    ):
        if not parameters.get(name):
            raise missing(sub_code, name)
    if parameters["app_id"] != merchant.app_id:
        raise invalid("isv.invalid-app-id", "无效的AppID参数")
    if parameters["sign_type"] != "RSA2":
        raise invalid("isv.invalid-signature-type", "无效的签名类型")
    if parameters.get("charset", "").lower() != "utf-8":
        raise invalid("isv.invalid-charset", "字符集错误")
    if parameters["version"] != "1.0" or parameters.get("format", "JSON").upper() != "JSON":
        raise invalid("isv.invalid-format", "无效的数据格式或版本")
    if not is_request_signed(parameters, keys.app.values()):
        raise invalid("isv.invalid-signature", "验签出错，请检查签名内容、密钥和编码")
    _check_timestamp(parameters["timestamp"])


def _check_timestamp(text: str) -> None:
    signed_at = _shanghai_time(text)
    if signed_at is None or abs(datetime.now(UTC) - signed_at) > TIMESTAMP_TOLERANCE:
        raise invalid("isv.invalid-timestamp", "非法的时间戳参数")


def content(parameters: Parameters) -> Mapping[str, object]:
    """The business content. Raises Rejected where it is no JSON object with each key once."""
    found = parse_object(parameters.get("biz_content", ""))
    if found is None:
        raise failed("ACQ.INVALID_PARAMETER", "参数无效：biz_content")
    return found


def out_trade_no(business: Mapping[str, object]) -> str:
    number = business.get("out_trade_no")
    if not isinstance(number, str) or not OUT_TRADE_NO.fullmatch(number):
        raise failed("ACQ.INVALID_PARAMETER", "参数无效：out_trade_no")
    return number


def new_trade(parameters: Parameters, business: Mapping[str, object]) -> NewTrade:
    """The order that a paying method asks for. Raises Rejected."""
    method, product_code = METHODS[parameters["method"]]
    if product_code and business.get("product_code") != product_code:
        raise failed("ACQ.INVALID_PARAMETER", "参数无效：product_code")
    subject = business.get("subject")
    if not isinstance(subject, str) or not 1 <= len(subject) <= 256:
        raise failed("ACQ.INVALID_PARAMETER", "参数无效：subject")
    passed_back = business.get("passback_params", "")
    return NewTrade(
        channel="alipay",
        out_trade_no=out_trade_no(business),
        method=method,
        amount_fen=_amount_fen(business.get("total_amount")),
        description=subject,
        notify_url=_notify_url(parameters.get("notify_url", "")),
        return_url=_web_address(parameters.get("return_url", "")),
        passed_back=passed_back if isinstance(passed_back, str) else "",
        expires_at=_expires_at(business),
    )


def _amount_fen(value: object) -> int:
    if isinstance(value, str) and AMOUNT.fullmatch(value):
        fen = int(value.replace(".", ""))
        if 1 <= fen <= AMOUNT_FEN_MAX:
            return fen
    raise failed("ACQ.INVALID_PARAMETER", "参数无效：total_amount")


def _notify_url(url: str) -> str:
    if not _web_address(url) or urlsplit(url).query:
        raise failed("ACQ.INVALID_PARAMETER", "参数无效：notify_url")
    return url


def _web_address(url: str) -> str:
    if url and urlsplit(url).scheme not in ("http", "https"):
        raise failed("ACQ.INVALID_PARAMETER", "参数无效：return_url")
    return url


def _expires_at(business: Mapping[str, object]) -> datetime:
    now = datetime.now(UTC)
    absolute, relative = business.get("time_expire"), business.get("timeout_express")
    if absolute is not None:
        end = _shanghai_time(absolute)
    elif relative is not None:
        end = _after(now, relative)
    else:
        end = now + TIMEOUT_MAX
    if end is None or end > now + TIMEOUT_MAX + timedelta(minutes=1):
        raise failed("ACQ.INVALID_PARAMETER", "参数无效：time_expire")
    return end


def _after(now: datetime, text: object) -> datetime | None:
    found = TIMEOUT.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    if text == "1c":
        midnight = now.astimezone(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight + timedelta(days=1)
    return now + timedelta(**{TIMEOUT_UNITS[found[2]]: int(found[1])})


def _shanghai_time(text: object) -> datetime | None:
    try:
        return datetime.strptime(str(text), TIME_FORMAT).replace(tzinfo=SHANGHAI)
    except ValueError:
        return None


def shanghai_text(instant: datetime) -> str:
    return instant.astimezone(SHANGHAI).strftime(TIME_FORMAT)
