"""Personal data at rest: AES-256-GCM with the key id in the value, and a blind index for look-up.

A sealed value opens only in the context it was sealed for (the identity of its row), so a value
copied into another row does not open there.
"""

import hashlib
import hmac
import os
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.kernel.errors import SongheError
from shared.runtime.keys.key_files import KeyFileError, Watched, parse_secret, read_secret

FORMAT_VERSION = 1
NONCE_BYTES = 12
TAG_BYTES = 16
KEY_ID_BYTES_MAX = 64


class CannotOpen(SongheError):
    """The value is damaged, belongs to another context, or its key is gone."""


class Sealer:
    """Seals with the newest key (last in name order) and opens with every key it has.

    Layout: version (1 byte), length of the key id (1), key id, nonce (12), ciphertext and tag.
    """

    def __init__(self, keys: Callable[[], dict[str, AESGCM]]) -> None:
        self._keys = keys

    @classmethod
    def from_folder(cls, folder: Path) -> "Sealer":
        """Keys are `<key id>.key`; a new file is used from about a second after it appears."""
        watched = Watched(folder, "*.key", _parse_keys)
        return cls(lambda: watched.keys)

    @classmethod
    def from_file(cls, path: Path) -> "Sealer":
        """One key for what lives so briefly that rotation just forgets it, such as a cache."""
        return cls.from_keys({path.stem: read_secret(path)})

    @classmethod
    def from_keys(cls, keys: dict[str, bytes]) -> "Sealer":
        ciphers = _ciphers(keys)
        return cls(lambda: ciphers)

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        """Encrypt for `context`; the same plaintext never gives the same value twice."""
        ciphers = self._keys()
        key_id = max(ciphers)
        head = bytes([FORMAT_VERSION, len(key_id.encode())]) + key_id.encode()
        nonce = os.urandom(NONCE_BYTES)
        return head + nonce + ciphers[key_id].encrypt(nonce, plaintext, _bound(head, context))

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Decrypt what was sealed for `context`; raises CannotOpen."""
        head, nonce, ciphertext = _split(sealed)
        key_id = head[2:].decode(errors="replace")
        cipher = self._keys().get(key_id)
        if cipher is None:
            raise CannotOpen("the value was sealed with a key that is not here")
        try:
            return cipher.decrypt(nonce, ciphertext, _bound(head, context))
        except InvalidTag:
            raise CannotOpen("the value is damaged or belongs to another context") from None

    def needs_resealing(self, sealed: bytes) -> bool:
        """Whether a newer key exists: rotation ends when no value needs it any more."""
        head, _, _ = _split(sealed)
        return head[2:].decode(errors="replace") != max(self._keys())


class BlindIndex:
    """HMAC-SHA256: finds equal values without storing them; useless without the key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def from_file(cls, path: Path) -> "BlindIndex":
        return cls(read_secret(path))

    def digest(self, value: str) -> bytes:
        return hmac.digest(self._key, value.encode(), hashlib.sha256)


def _parse_keys(files: dict[str, bytes]) -> dict[str, AESGCM]:
    return _ciphers(
        {key_id: parse_secret(content, name=key_id) for key_id, content in files.items()}
    )


def _ciphers(keys: dict[str, bytes]) -> dict[str, AESGCM]:
    if not keys:
        raise KeyFileError("there is no key to seal with")
    for key_id in keys:
        if not 1 <= len(key_id.encode()) <= KEY_ID_BYTES_MAX:
            raise KeyFileError(f"a key id has 1 to {KEY_ID_BYTES_MAX} bytes, {key_id!r} has not")
    return {key_id: AESGCM(key) for key_id, key in keys.items()}


def _split(sealed: bytes) -> tuple[bytes, bytes, bytes]:
    if len(sealed) < 2 or sealed[0] != FORMAT_VERSION:
        raise CannotOpen("the value is not in a known format")
    head_end = 2 + sealed[1]
    nonce_end = head_end + NONCE_BYTES
    if len(sealed) < nonce_end + TAG_BYTES:
        raise CannotOpen("the value is too short")
    return sealed[:head_end], sealed[head_end:nonce_end], sealed[nonce_end:]


def _bound(head: bytes, context: bytes) -> bytes:
    # The head names its own length, so head and context cannot be shifted into each other.
    return head + context
