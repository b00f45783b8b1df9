"""Development keys and passwords: made at first start, readable by the owner only, never shared.

Each one says that it was made for development, so that production can refuse it.

`<state>/keys/` holds
  services/<service>.pem           what a service signs its calls to another with (ES256)
  callers/<service>/<caller>.pem   the public keys of the callers that this service accepts
  access-tokens/<kid>.pem          what identity signs access tokens with (ES256)
  phone-encryption/<id>.key        AES-256 keys for phones; phone-index.key, sms-code.key
  contact-cache.key                what notifier encrypts its cached contacts with
  passwords/<role>                 database passwords
"""

import base64
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared.runtime.key_files import DEVELOPMENT_MARK
from shared.runtime.settings import DEVELOPMENT_PASSWORD_PREFIX

SERVICES = ("identity", "billing", "payment", "notifier")
# Who may call the internal endpoints of whom.
CALLERS = {
    "identity": ("billing", "payment", "notifier"),
    "billing": (),
    "payment": (),
    "notifier": (),
}
KEY_BYTES = 32


def create_missing(folder: Path) -> None:
    """Make every key that is not there yet; existing ones stay untouched."""
    for service in SERVICES:
        _private_key(folder / "services" / f"{service}.pem")
    for service, callers in CALLERS.items():
        accepted = folder / "callers" / service
        _folder(accepted)
        for caller in callers:
            _write_new(accepted / f"{caller}.pem", _public(folder / "services" / f"{caller}.pem"))
    _private_key(folder / "access-tokens" / "access-1.pem")
    _secret(folder / "phone-encryption" / "phone-1.key")
    for name in ("phone-index", "sms-code", "contact-cache"):
        _secret(folder / f"{name}.key")


def password(folder: Path, role: str) -> str:
    """The database password of a role, made when first asked for."""
    path = folder / "passwords" / role
    if not path.exists():
        password = DEVELOPMENT_PASSWORD_PREFIX + secrets.token_urlsafe(24)
        _write_new(path, password.encode())
    return path.read_text()


def _private_key(path: Path) -> None:
    if path.exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _write_new(path, DEVELOPMENT_MARK + pem)


def _public(path: Path) -> bytes:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    return DEVELOPMENT_MARK + key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _secret(path: Path) -> None:
    if not path.exists():
        _write_new(path, DEVELOPMENT_MARK + base64.b64encode(secrets.token_bytes(KEY_BYTES)))


def _write_new(path: Path, content: bytes) -> None:
    """Write complete or not at all: a key cut short by a crash would be used for ever."""
    if path.exists():
        return
    _folder(path.parent)
    fresh = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    fresh.rename(path)


def _folder(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
