"""What WeChat Pay signs and encrypts: request and answer messages, resources of notifications."""

import base64
import re
import secrets
import time
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sandbox import rsa

SCHEME = "WECHATPAY2-SHA256-RSA2048"
PARTS = ("mchid", "nonce_str", "timestamp", "serial_no", "signature")
PART = re.compile(r'([a-z_]+)="([^"]*)"')
FRESH_SECONDS = 300


def request_message(method: str, path: str, timestamp: str, nonce: str, body: str) -> str:
    """`path` with its query, as it stands in the request line."""
    return f"{method}\n{path}\n{timestamp}\n{nonce}\n{body}\n"


def answer_message(timestamp: str, nonce: str, body: str) -> str:
    """For answers and notifications alike."""
    return f"{timestamp}\n{nonce}\n{body}\n"


def authorization_of(header: str) -> Mapping[str, str] | None:
    """The five parts of an Authorization header, None where it is anything else."""
    scheme, _, rest = header.partition(" ")
    found: dict[str, str] = dict(PART.findall(rest))
    well_formed = re.fullmatch(r'\s*([a-z_]+="[^"]*"\s*,\s*){4}[a-z_]+="[^"]*"\s*', rest)
    if scheme != SCHEME or not well_formed or set(found) != set(PARTS):
        return None
    return found


def is_request_signed(
    parts: Mapping[str, str], keys: Mapping[str, RSAPublicKey], *, method: str, path: str, body: str
) -> bool:
    """Whether the key that the request names has signed it within the last five minutes."""
    key, timestamp = keys.get(parts["serial_no"]), parts["timestamp"]
    if key is None or not re.fullmatch(r"[0-9]{1,12}", timestamp):
        return False
    if abs(time.time() - int(timestamp)) >= FRESH_SECONDS:
        return False
    message = request_message(method, path, timestamp, parts["nonce_str"], body)
    return rsa.is_signed(message, parts["signature"], [key])


def signed_headers(
    body: str, *, serial: str, key: RSAPrivateKey, age_seconds: int = 0
) -> dict[str, str]:
    """The headers that let the merchant verify `body`; an age makes the signature an old one."""
    timestamp, nonce = str(int(time.time()) - age_seconds), secrets.token_hex(16)
    return {
        "Wechatpay-Serial": serial,
        "Wechatpay-Timestamp": timestamp,
        "Wechatpay-Nonce": nonce,
        "Wechatpay-Signature": rsa.sign(key, answer_message(timestamp, nonce, body)),
        "Wechatpay-Signature-Type": SCHEME,
    }


def encrypted(text: str, key: bytes, associated_data: str) -> dict[str, str]:
    """AES-256-GCM: ciphertext with its tag in base64, a nonce of twelve characters."""
    nonce = secrets.token_hex(6)
    sealed = AESGCM(key).encrypt(nonce.encode(), text.encode(), associated_data.encode())
    return {
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": base64.b64encode(sealed).decode(),
        "associated_data": associated_data,
        "nonce": nonce,
    }


def pay_sign_message(parts: list[str]) -> str:
    """What the page or the app shows the client: app id, time, nonce, prepay id."""
    return "".join(f"{part}\n" for part in parts)
