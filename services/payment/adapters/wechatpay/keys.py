"""Keys for WeChat Pay from a folder: ours, the platform's, and the APIv3 key, changed while we run.

`merchant/<serial>.pem` are our private keys. `platform/` holds certificates and public keys under
the name that `Wechatpay-Serial` gives them; both kinds are valid at the same time while a merchant
switches. `apiv3/*.key` are 32 characters each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from services.payment.adapters.channels.rsa_signatures import (
    CERTIFICATE_BEGINS,
    parse_certificate,
    parse_private_key,
    parse_public_key,
)
from services.payment.adapters.wechatpay.signing import serial_of
from shared.runtime.keys.key_files import DEVELOPMENT_MARK, KeyFileError, Watched

APIV3_KEY_BYTES = 32
PUBLIC_KEY_PREFIX = "PUB_KEY_ID_"


@dataclass(frozen=True, slots=True, kw_only=True)
class WechatpayKeys:
    """`requested_serial` asks the channel to sign with its public key, where we have that."""

    merchant_serial: str
    signing: rsa.RSAPrivateKey
    platform: Mapping[str, rsa.RSAPublicKey]
    apiv3: tuple[bytes, ...]

    @property
    def requested_serial(self) -> str | None:
        return max(
            (name for name in self.platform if name.startswith(PUBLIC_KEY_PREFIX)), default=None
        )


class WechatpayKeyFolder:
    """Raises KeyFileError at the start; a later change that cannot be read is logged only."""

    def __init__(self, folder: Path) -> None:
        self._merchant = Watched(folder / "merchant", "*.pem", _merchant)
        self._platform = Watched(folder / "platform", "*.pem", _platform)
        self._apiv3 = Watched(folder / "apiv3", "*.key", _apiv3)

    @property
    def keys(self) -> WechatpayKeys:
        serial, signing = self._merchant.keys
        return WechatpayKeys(
            merchant_serial=serial,
            signing=signing,
            platform=self._platform.keys,
            apiv3=self._apiv3.keys,
        )


def _merchant(files: Mapping[str, bytes]) -> tuple[str, rsa.RSAPrivateKey]:
    """The last by name signs; the channel takes every certificate that it has not revoked."""
    keys = {
        name: parse_private_key(content, name=f"merchant/{name}.pem")
        for name, content in files.items()
    }
    if not keys:
        raise KeyFileError("merchant/ holds no *.pem")
    return max(keys), keys[max(keys)]


def _platform(files: Mapping[str, bytes]) -> dict[str, rsa.RSAPublicKey]:
    if not files:
        raise KeyFileError("platform/ holds no *.pem")
    return {name: _platform_key(name, content) for name, content in files.items()}


def _platform_key(serial: str, content: bytes) -> rsa.RSAPublicKey:
    name = f"platform/{serial}.pem"
    if CERTIFICATE_BEGINS in content:
        found = serial_of(parse_certificate(content, name=name))
        if found != serial:
            raise KeyFileError(f"{name} holds the certificate with the serial {found}")
    return parse_public_key(content, name=name)


def _apiv3(files: Mapping[str, bytes]) -> tuple[bytes, ...]:
    keys = tuple(content.removeprefix(DEVELOPMENT_MARK).strip() for content in files.values())
    if not keys or any(len(key) != APIV3_KEY_BYTES for key in keys):
        raise KeyFileError(f"apiv3/ must hold *.key files of {APIV3_KEY_BYTES} characters")
    return keys
