"""SHA256withRSA (PKCS #1 v1.5) in base64, which both channels sign with; keys from files."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey


class KeysUnreadable(Exception):
    """A key folder lacks a key or holds something else."""


def sign(key: RSAPrivateKey, message: str) -> str:
    signature = key.sign(message.encode(), padding.PKCS1v15(), hashes.SHA256())
    return base64.b64encode(signature).decode()


def is_signed(message: str, signature: str, keys: Iterable[RSAPublicKey]) -> bool:
    """Whether any of the keys made this signature over this text."""
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    return any(_made_by(key, raw, message.encode()) for key in keys)


def _made_by(key: RSAPublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class AlipayKeys:
    """The gateway's own key and the merchant's public ones."""

    platform: RSAPrivateKey
    app: Mapping[str, RSAPublicKey]


@dataclass(frozen=True, slots=True, kw_only=True)
class WechatPayKeys:
    """By serial number or `PUB_KEY_ID_…`; `certificates` are PEM, by serial number alone."""

    platform: Mapping[str, RSAPrivateKey]
    certificates: Mapping[str, str]
    merchant: Mapping[str, RSAPublicKey]
    apiv3: bytes

    @property
    def certificate_serial(self) -> str:
        return next(iter(self.certificates))


def read_alipay_keys(folder: Path) -> AlipayKeys:
    """Raises KeysUnreadable."""
    platform = _private_keys(folder / "platform")
    return AlipayKeys(platform=list(platform.values())[-1], app=_public_keys(folder / "app"))


def read_wechatpay_keys(folder: Path) -> WechatPayKeys:
    """Raises KeysUnreadable."""
    certificates = {
        path.stem: _without_mark(path).decode() for path in _files(folder / "platform", "*.crt")
    }
    [apiv3, *_] = _files(folder / "apiv3", "*.key")
    return WechatPayKeys(
        platform=_private_keys(folder / "platform"),
        certificates=certificates,
        merchant=_public_keys(folder / "merchant"),
        apiv3=_without_mark(apiv3).strip(),
    )


def _private_keys(folder: Path) -> dict[str, RSAPrivateKey]:
    found: dict[str, RSAPrivateKey] = {}
    for path in _files(folder, "*.pem"):
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (ValueError, TypeError):
            raise KeysUnreadable(f"{path} is not a private key in PEM") from None
        if not isinstance(key, RSAPrivateKey):
            raise KeysUnreadable(f"{path} is not an RSA key")
        found[path.stem] = key
    return found


def _public_keys(folder: Path) -> dict[str, RSAPublicKey]:
    found: dict[str, RSAPublicKey] = {}
    for path in _files(folder, "*.pem"):
        try:
            key = serialization.load_pem_public_key(path.read_bytes())
        except (ValueError, TypeError):
            raise KeysUnreadable(f"{path} is not a public key in PEM") from None
        if not isinstance(key, RSAPublicKey):
            raise KeysUnreadable(f"{path} is not an RSA key")
        found[path.stem] = key
    return found


def _files(folder: Path, pattern: str) -> list[Path]:
    found = sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))
    if not found:
        raise KeysUnreadable(f"{folder} holds no {pattern}")
    return found


def _without_mark(path: Path) -> bytes:
    """Without the line that says that it was made for development."""
    content = path.read_bytes()
    return content.partition(b"\n")[2] if content.startswith(b"#") else content
