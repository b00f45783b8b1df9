"""Development keys and passwords: made at first start, readable by the owner only, never shared.

Each one says that it was made for development, so that production can refuse it.

`<state>/keys/` holds
  services/<service>.pem           what a service signs its calls to another with (ES256)
  callers/<service>/<caller>.pem   the public keys of the callers that this service accepts
  access-tokens/<kid>.pem          what identity signs access tokens with (ES256)
  phone-encryption/<id>.key        AES-256 keys for phones; phone-index.key, sms-code.key
  contact-cache.key                what notifier encrypts its cached contacts with
  channels/                        keys of the payment channels, see `devstack/keys/channels.py`
  passwords/<role>                 database passwords
"""

import base64
import secrets
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from devstack.keys import channels as channel_keys
from devstack.keys.writing import make_folder, public_half, write_new, write_private_key
from shared.catalogue import SERVICES
from shared.runtime.keys.key_files import DEVELOPMENT_MARK
from shared.runtime.process.settings import DEVELOPMENT_PASSWORD_PREFIX

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
        write_private_key(folder / "services" / f"{service}.pem", _ec_key)
    for service, callers in CALLERS.items():
        accepted = folder / "callers" / service
        make_folder(accepted)
        for caller in callers:
            private = folder / "services" / f"{caller}.pem"
            write_new(accepted / f"{caller}.pem", partial(public_half, private))
    write_private_key(folder / "access-tokens" / "access-1.pem", _ec_key)
    write_new(folder / "phone-encryption" / "phone-1.key", _secret)
    for name in ("phone-index", "sms-code", "contact-cache"):
        write_new(folder / f"{name}.key", _secret)
    channel_keys.create_missing(folder / "channels")


def password(folder: Path, role: str) -> str:
    """The database password of a role, made when first asked for."""
    path = folder / "passwords" / role
    write_new(path, lambda: (DEVELOPMENT_PASSWORD_PREFIX + secrets.token_urlsafe(24)).encode())
    return path.read_text()


def _ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _secret() -> bytes:
    return DEVELOPMENT_MARK + base64.b64encode(secrets.token_bytes(KEY_BYTES))
