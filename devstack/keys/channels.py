"""Development keys of the payment channels: ours, theirs, and the public halves of both.

`<keys>/channels/` holds
  alipay/      app/ our private keys, platform/ Alipay's public ones             (payment reads it)
  wechatpay/   merchant/<serial>.pem, platform/<serial or PUB_KEY_ID_…>.pem, apiv3/ (payment)
  sandbox/     the other half of each, for the sandbox that plays both channels
"""

import secrets
import string
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from devstack.keys.writing import public_half, write_new, write_private_key
from shared.runtime.keys.key_files import DEVELOPMENT_MARK

RSA_BITS = 2048
CERTIFICATE_DAYS = 5 * 365
APIV3_KEY_CHARACTERS = 32
PUB_KEY_ID = "PUB_KEY_ID_0119000000012026110100000000000001"
ALPHABET = string.ascii_letters + string.digits


def create_missing(folder: Path) -> None:
    """Make every channel key that is not there yet; existing ones stay untouched."""
    sandbox = folder / "sandbox"
    _pair(folder / "alipay" / "app" / "app-1.pem", sandbox / "alipay" / "app" / "app-1.pem")
    _pair(
        sandbox / "alipay" / "platform" / "platform-1.pem",
        folder / "alipay" / "platform" / "platform-1.pem",
    )
    _wechatpay(folder / "wechatpay", sandbox / "wechatpay")


def _wechatpay(ours: Path, theirs: Path) -> None:
    merchant = _only(ours / "merchant", "*.pem") or ours / "merchant" / f"{_serial():040X}.pem"
    _pair(merchant, theirs / "merchant" / merchant.name)
    platform = theirs / "platform"
    _pair(platform / f"{PUB_KEY_ID}.pem", ours / "platform" / f"{PUB_KEY_ID}.pem")
    private = _only(platform, "[0-9A-F]*.pem") or platform / f"{_serial():040X}.pem"
    write_private_key(private, _rsa_key)
    write_new(private.with_suffix(".crt"), lambda: _certificate(private))
    write_new(ours / "platform" / private.name, private.with_suffix(".crt").read_bytes)
    write_new(ours / "apiv3" / "apiv3-1.key", _apiv3_key)
    write_new(theirs / "apiv3" / "apiv3-1.key", (ours / "apiv3" / "apiv3-1.key").read_bytes)


def _pair(private: Path, public: Path) -> None:
    write_private_key(private, _rsa_key)
    write_new(public, lambda: public_half(private))


def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)


def _only(folder: Path, pattern: str) -> Path | None:
    """The key of a former start: its name holds a serial number drawn at random."""
    return next(iter(sorted(folder.glob(pattern))), None)


def _serial() -> int:
    # 40 hexadecimal digits, the first never 0: file name and header show the number alike.
    return secrets.randbits(156) | 1 << 156


def _certificate(private: Path) -> bytes:
    """A platform certificate, signed by itself, with the serial number that the file is named."""
    key = serialization.load_pem_private_key(private.read_bytes(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    name = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "CN"),
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Songhe sandbox"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, "Songhe sandbox of WeChat Pay"),
        ]
    )
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(int(private.stem, 16))
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=CERTIFICATE_DAYS))
        .sign(key, hashes.SHA256())
    )
    return DEVELOPMENT_MARK + certificate.public_bytes(serialization.Encoding.PEM)


def _apiv3_key() -> bytes:
    key = "".join(secrets.choice(ALPHABET) for _ in range(APIV3_KEY_CHARACTERS))
    return DEVELOPMENT_MARK + key.encode()
