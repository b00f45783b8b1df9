"""Alipay's RSA2: what is signed in a request, a response and a notification (OpenAPI 2.0).

Rules from the official SDK (alipay-sdk-nodejs-all `src/util.ts`, `src/alipay.ts`) and EasySDK's
SignContentExtractor. Verification works on what was received, never on something made anew.
"""

import re
from collections.abc import Iterable, Mapping

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa

from services.payment.adapters.channels import strict_json
from services.payment.adapters.channels.rsa_signatures import NotVerified, is_signed, sign
from services.payment.domain.channel_notification import RefusalReason

SIGN_TYPE = "RSA2"
ERROR_ROOT = "error_response"
# A notification has some thirty parameters.
PARAMETERS_MAX = 100
_PARAMETER_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
# The official table of a payment notification's parameters, and those of currencies.
_TABLE = """notify_time notify_type notify_id app_id auth_app_id charset version sign_type sign
    trade_no out_trade_no out_biz_no buyer_id buyer_logon_id seller_id seller_email trade_status
    total_amount receipt_amount invoice_amount buyer_pay_amount point_amount refund_fee subject
    body gmt_create gmt_payment gmt_refund gmt_close fund_bill_list passback_params
    voucher_detail_list trans_currency pay_currency settle_currency"""
_OFFICIAL_NAMES = frozenset(_TABLE.split())
# None of them may hide in another one's value: what is signed reads `a=1&b=2`, whether that was
# two parameters or one.
_HIDDEN = re.compile(f"&(?:{'|'.join(sorted(_OFFICIAL_NAMES))})=")

_decode_roots = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def string_to_sign(parameters: Mapping[str, str]) -> str:
    """Of a request: every parameter but `sign` that has a value, sorted; `sign_type` counts."""
    return "&".join(
        f"{name}={parameters[name]}"
        for name in sorted(parameters)
        if name != "sign" and parameters[name] != ""
    )


def signed(parameters: Mapping[str, str], key: rsa.RSAPrivateKey) -> dict[str, str]:
    """The request's parameters that have a value, with their signature."""
    present = {name: value for name, value in parameters.items() if value != "" and name != "sign"}
    return present | {"sign": sign(key, string_to_sign(present).encode())}


def response_root(method: str) -> str:
    """`alipay.trade.query` → `alipay_trade_query_response`."""
    return method.replace(".", "_") + "_response"


def signed_content(body: bytes, root: str) -> tuple[bytes, str]:
    """The bytes under `root` (or `error_response`) exactly as received, and their signature.

    Raises NotVerified where a name occurs twice anywhere, or both roots are there, or none.
    """
    try:
        strict_json.parse(body)
        roots = _decode_roots(body)
        signature = msgspec.json.decode(roots.get("sign", b'""'), type=str)
    except (strict_json.NotStrictJson, msgspec.DecodeError):
        raise NotVerified(RefusalReason.MALFORMED) from None
    found = [name for name in (root, ERROR_ROOT) if name in roots]
    if len(found) != 1:
        raise NotVerified(RefusalReason.MALFORMED)
    return bytes(roots[found[0]]), signature


def verified_response(body: bytes, *, method: str, keys: Iterable[rsa.RSAPublicKey]) -> bytes:
    """The response's content exactly as received, once one of the keys signed it.

    Raises NotVerified. The content may be an error: the caller looks at its `code`.
    """
    content, signature = signed_content(body, response_root(method))
    if not _is_signed_by_one(keys, content, signature):
        raise NotVerified(RefusalReason.SIGNATURE)
    return content


def read_form(body: bytes) -> dict[str, str]:
    """A form's parameters, decoded once. Raises NotVerified, also where a name occurs twice."""
    try:
        parts = body.decode("ascii").split("&", PARAMETERS_MAX)
        parameters = dict([_decoded_pair(part) for part in parts])
    except ValueError:
        raise NotVerified(RefusalReason.MALFORMED) from None
    if len(parameters) != len(parts) or len(parts) > PARAMETERS_MAX:
        raise NotVerified(RefusalReason.MALFORMED)
    return parameters


def string_to_verify(parameters: Mapping[str, str]) -> str:
    """Of a notification: every parameter but `sign` and `sign_type`, empty ones too, sorted."""
    return _joined(parameters, without=("sign", "sign_type"))


def check_notification(parameters: Mapping[str, str], keys: Iterable[rsa.RSAPublicKey]) -> None:
    """Raises NotVerified unless one of the keys signed exactly these parameters.

    `sign_type` is no part of what is signed, except in a few messages that are not about
    payments; the official SDK tries both, and so do we.
    """
    if parameters.get("sign_type", SIGN_TYPE) != SIGN_TYPE:
        raise NotVerified(RefusalReason.MALFORMED)
    _refuse_ambiguous(parameters)
    trusted = tuple(keys)
    signature = parameters.get("sign", "")
    if _is_signed_by_one(trusted, string_to_verify(parameters).encode(), signature):
        return
    with_type = _joined({**parameters, "sign_type": SIGN_TYPE}, without=("sign",))
    if not _is_signed_by_one(trusted, with_type.encode(), signature):
        raise NotVerified(RefusalReason.SIGNATURE)


def _decoded_pair(part: str) -> tuple[str, str]:
    """Raises ValueError where this is no parameter, or not in UTF-8."""
    name, equals, value = part.partition("=")
    if not equals:
        raise ValueError("a parameter without a value")
    # Most have nothing to decode.
    return (
        _decoded(name) if "%" in name or "+" in name else name,
        _decoded(value) if "%" in value or "+" in value else value,
    )


def _decoded(text: str) -> str:
    """Raises ValueError for a broken escape, and for what is not UTF-8."""
    # `%e5` becomes `\xe5`: those Python decodes all at once, and a form's one by one.
    escaped = text.replace("+", " ").replace("\\", r"\\").replace("%", r"\x")
    return escaped.encode("ascii").decode("unicode_escape").encode("latin-1").decode("utf-8")


def _joined(parameters: Mapping[str, str], *, without: tuple[str, ...]) -> str:
    names = sorted(name for name in parameters if name not in without)
    return "&".join([f"{name}={parameters[name]}" for name in names])


def _refuse_ambiguous(parameters: Mapping[str, str]) -> None:
    for name in parameters.keys() - _OFFICIAL_NAMES:
        if not _PARAMETER_NAME.fullmatch(name):
            raise NotVerified(RefusalReason.MALFORMED)
    # A name that hides begins with the `&` of its own value: it is found in all values at once.
    if _HIDDEN.search("\n".join(parameters.values())):
        raise NotVerified(RefusalReason.MALFORMED)


def _is_signed_by_one(keys: Iterable[rsa.RSAPublicKey], message: bytes, signature: str) -> bool:
    return signature != "" and any(is_signed(key, message, signature) for key in keys)
