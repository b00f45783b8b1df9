"""Keys made for one test: nothing that signs is ever committed."""

import base64
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def write_signing_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = new_key()
    path.write_bytes(private_pem(key))
    return key


def write_secret(path: Path) -> Path:
    path.write_bytes(base64.b64encode(os.urandom(32)))
    return path
