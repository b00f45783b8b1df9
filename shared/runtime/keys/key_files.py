"""Keys come from files, never from the environment itself, and are read again when they change.

Messages name files and never what is in them. All functions raise KeyFileError.
"""

import base64
import binascii
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared.kernel.errors import SongheError

Keys = TypeVar("Keys")

SECRET_BYTES = 32
# 32 random bytes have fewer than 16 different values once in 10^20 keys: a placeholder has.
SECRET_DIFFERENT_BYTES_MIN = 16
FILE_BYTES_MAX = 64 * 1024
# What development tools write above every key they make; production refuses such a file.
DEVELOPMENT_MARK = b"# Songhe development key: production refuses it\n"
# A rotated key is seen after this time; the folder is not listed for every request.
CHECK_SECONDS = 1.0

log = structlog.get_logger(__name__)


class KeyFileError(SongheError):
    """A key file or folder is missing, unreadable, or holds something else than a key."""


class Watched(Generic[Keys]):
    """What `parse` makes of a folder's files, read again soon after one of them changes.

    A change that cannot be read is logged, and the keys read before stay valid.
    """

    def __init__(
        self, folder: Path, pattern: str, parse: Callable[[dict[str, bytes]], Keys]
    ) -> None:
        self._folder = folder
        self._pattern = pattern
        self._parse = parse
        self._seen = self._fingerprint()
        self._checked_at = time.monotonic()
        self._keys = parse(read_folder(folder, pattern))

    @property
    def keys(self) -> Keys:
        if time.monotonic() - self._checked_at >= CHECK_SECONDS:
            self._checked_at = time.monotonic()
            self._refresh()
        return self._keys

    def _refresh(self) -> None:
        try:
            fingerprint = self._fingerprint()
            if fingerprint == self._seen:
                return
            self._seen = fingerprint
            self._keys = self._parse(read_folder(self._folder, self._pattern))
            log.info("keys_reloaded", folder=str(self._folder))
        except (KeyFileError, OSError) as error:
            log.error("keys_not_reloaded", folder=str(self._folder), error=str(error))

    def _fingerprint(self) -> tuple[tuple[str, int, int], ...]:
        found = []
        for path in sorted(self._folder.glob(self._pattern)):
            stat = path.stat()
            found.append((path.name, stat.st_mtime_ns, stat.st_size))
        return tuple(found)


def read_folder(folder: Path, pattern: str) -> dict[str, bytes]:
    """The files by name without suffix, in name order."""
    if not folder.is_dir():
        raise KeyFileError(f"{folder} is not a folder")
    return {path.stem: read_file(path) for path in sorted(folder.glob(pattern))}


def read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > FILE_BYTES_MAX:
        raise KeyFileError(f"{path} is too large for a key")
    return content


def read_secret(path: Path) -> bytes:
    """The 32 bytes that the file holds in base64."""
    return parse_secret(read_file(path), name=str(path))


def is_made_for_development(path: Path) -> bool:
    """Whether this file, or any file in or below this folder, carries the mark of development."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return any(read_file(file).startswith(DEVELOPMENT_MARK) for file in files)


def parse_secret(content: bytes, *, name: str) -> bytes:
    try:
        secret = base64.b64decode(content.removeprefix(DEVELOPMENT_MARK).strip(), validate=True)
    except (binascii.Error, ValueError):
        raise KeyFileError(f"{name} is not base64") from None
    if len(secret) != SECRET_BYTES:
        raise KeyFileError(f"{name} holds {len(secret)} bytes instead of {SECRET_BYTES}")
    if len(set(secret)) < SECRET_DIFFERENT_BYTES_MIN:
        raise KeyFileError(f"{name} holds a placeholder instead of random bytes")
    return secret


def read_signing_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The ES256 (P-256) private key that the PEM file holds."""
    return parse_signing_key(read_file(path), name=str(path))


def parse_signing_key(content: bytes, *, name: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError):
        raise KeyFileError(f"{name} is not a private key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyFileError(f"{name} is not a P-256 key")
    return key


def parse_public_keys(content: bytes, *, name: str) -> list[ec.EllipticCurvePublicKey]:
    """All ES256 public keys of a PEM file: during a rotation the old and the new one."""
    end = b"-----END PUBLIC KEY-----"
    blocks = [block + end for block in content.split(end) if block.strip()]
    if not blocks or not content.rstrip().endswith(end):
        raise KeyFileError(f"{name} holds no public key in PEM")
    return [_parse_public_key(block.strip(), name) for block in blocks]


def _parse_public_key(block: bytes, name: str) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_pem_public_key(block)
    except (ValueError, TypeError):
        raise KeyFileError(f"{name} is not a public key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyFileError(f"{name} is not a P-256 key")
    return key
