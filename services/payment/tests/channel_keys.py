"""Keys for tests of the cashier channels: made when asked for, or the published testing key."""

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from services.payment.adapters.channels.rsa_signatures import parse_private_key

VECTORS = Path(__file__).parent / "vectors"


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


@cache
def wechatpay_key() -> rsa.RSAPrivateKey:
    """The key of wechatpay-go's own tests: published for tests, and used for nothing else."""
    pem = vectors("wechatpay_v3.json")["rsa_sha256_pkcs1v15"]["private_key_pem"]
    return parse_private_key(pem.replace("TESTING KEY", "PRIVATE KEY").encode(), name="testing key")


@cache
def an_rsa_key(name: str, *, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Made once per test run; another name is another key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def private_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def a_certificate(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, *, serial: int = 0x5157F09EFDC096DE
) -> bytes:
    """A self-signed certificate, in PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test channel")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)
