"""How development keys get to disk: marked, for the owner only, complete or not at all."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from shared.runtime.keys.key_files import DEVELOPMENT_MARK


def write_private_key(path: Path, generate: Callable[[], PrivateKeyTypes]) -> None:
    """PKCS 8 in PEM; a key that is there already stays."""

    def marked() -> bytes:
        pem = generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return DEVELOPMENT_MARK + pem

    write_new(path, marked)


def public_half(private: Path) -> bytes:
    key = serialization.load_pem_private_key(private.read_bytes(), password=None)
    return DEVELOPMENT_MARK + key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def write_new(path: Path, content: Callable[[], bytes]) -> None:
    """Write complete or not at all: a key cut short by a crash would be used for ever.

    `content` is asked only where nothing is there yet.
    """
    if path.exists():
        return
    make_folder(path.parent)
    fresh = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content())
    fresh.rename(path)


def make_folder(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
