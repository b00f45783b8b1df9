"""WeChat Pay APIv3: what is signed in a request, an answer, a callback and a payment page.

Rules from pay.weixin.qq.com/doc/v3 and the official SDKs (wechatpay-go, wechatpay-java).
"""

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.payment.adapters.channels.rsa_signatures import NotVerified, is_signed, sign
from services.payment.domain.channel_notification import RefusalReason

SCHEME = "WECHATPAY2-SHA256-RSA2048"
# The official SDKs take a message whose time is this far off, or further, for a replay.
CLOCK_OFFSET_LIMIT_SECONDS = 300
# The channel probes receivers with signatures that begin so; whoever accepts one is insecure.
PROBE_PREFIX = "WECHATPAY/SIGNTEST/"
GCM_NONCE_BYTES = 12
GCM_TAG_BYTES = 16

_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
# No line break: it would move the border between nonce and body in what is signed.
_NONCE = re.compile(r"[!-~]{1,128}", re.ASCII)


def authorization(
    *,
    method: str,
    target: str,
    body: str,
    merchant_id: str,
    serial: str,
    key: rsa.RSAPrivateKey,
    timestamp: int,
    nonce: str,
) -> str:
    """The header `Authorization`; `target` is path and query, exactly as they are sent."""
    message = request_message(method, target, timestamp, nonce, body)
    return (
        f'{SCHEME} mchid="{merchant_id}",nonce_str="{nonce}",timestamp="{timestamp}",'
        f'serial_no="{serial}",signature="{sign(key, message)}"'
    )


def request_message(method: str, target: str, timestamp: int, nonce: str, body: str) -> bytes:
    return f"{method}\n{target}\n{timestamp}\n{nonce}\n{body}\n".encode()


def answer_message(timestamp: str, nonce: str, body: bytes) -> bytes:
    """What is signed in an answer and in a callback: the body's bytes as they came."""
    return f"{timestamp}\n{nonce}\n".encode() + body + b"\n"


def check_signature(
    headers: Mapping[str, str],
    body: bytes,
    *,
    keys: Mapping[str, rsa.RSAPublicKey],
    now: datetime,
) -> None:
    """Of an answer or a callback; header names in lower case, `keys` by `Wechatpay-Serial`.

    Raises NotVerified, also where it was signed 300 s or more away from `now`. Platform
    certificates and `PUB_KEY_ID_…` keys may be valid at the same time.
    """
    if headers.get("wechatpay-signature-type", SCHEME) != SCHEME:
        raise NotVerified(RefusalReason.MALFORMED)
    timestamp = _header(headers, "wechatpay-timestamp", _TIMESTAMP)
    nonce = _header(headers, "wechatpay-nonce", _NONCE)
    signature = headers.get("wechatpay-signature", "")
    if signature.startswith(PROBE_PREFIX):
        raise NotVerified(RefusalReason.PROBE)
    key = keys.get(headers.get("wechatpay-serial", ""))
    if key is None:
        raise NotVerified(RefusalReason.UNKNOWN_KEY)
    if not is_signed(key, answer_message(timestamp, nonce, body), signature):
        raise NotVerified(RefusalReason.SIGNATURE)
    # In whole seconds, as the official SDKs compare.
    if abs(int(now.timestamp()) - int(timestamp)) >= CLOCK_OFFSET_LIMIT_SECONDS:
        raise NotVerified(RefusalReason.STALE)


def decrypt_resource(*, key: bytes, nonce: str, associated_data: str, ciphertext: str) -> bytes:
    """AEAD_AES_256_GCM with the APIv3 key. Raises NotVerified where it is not sealed so."""
    try:
        sealed = base64.b64decode(ciphertext, validate=True)
        iv = nonce.encode("ascii")
    except (binascii.Error, ValueError):
        raise NotVerified(RefusalReason.DECRYPTION) from None
    if len(iv) != GCM_NONCE_BYTES or len(sealed) < GCM_TAG_BYTES:
        raise NotVerified(RefusalReason.DECRYPTION)
    try:
        return AESGCM(key).decrypt(iv, sealed, associated_data.encode())
    except InvalidTag:
        raise NotVerified(RefusalReason.DECRYPTION) from None


def serial_of(certificate: x509.Certificate) -> str:
    """The serial number as `Wechatpay-Serial` and `serial_no` write it."""
    digits = f"{certificate.serial_number:X}"
    # Whole bytes: a serial number that begins with a small byte keeps its leading zero.
    return digits.zfill(len(digits) + len(digits) % 2)


def jsapi_pay_sign(
    key: rsa.RSAPrivateKey, *, app_id: str, timestamp: str, nonce: str, package: str
) -> str:
    """`paySign` for JSAPI; `package` is `prepay_id=…`."""
    return sign(key, f"{app_id}\n{timestamp}\n{nonce}\n{package}\n".encode())


def app_pay_sign(
    key: rsa.RSAPrivateKey, *, app_id: str, timestamp: str, nonce: str, prepay_id: str
) -> str:
    """`sign` for the payment in an app: like JSAPI's, but over the bare prepay id."""
    return sign(key, f"{app_id}\n{timestamp}\n{nonce}\n{prepay_id}\n".encode())


def _header(headers: Mapping[str, str], name: str, pattern: re.Pattern[str]) -> str:
    value = headers.get(name, "")
    if not pattern.fullmatch(value):
        raise NotVerified(RefusalReason.MALFORMED)
    return value
