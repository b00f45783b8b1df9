"""Alipay's content encryption: AES-CBC with a zero IV and PKCS#7, in base64.

It hides what is sent and proves nothing about who sent it: a signature always stands beside it.
The zero IV is Alipay's rule (alipay-sdk-nodejs-all `src/util.ts`).
"""

import base64
import binascii

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

_BLOCK_BITS = 128
_ZERO_IV = bytes(16)


def encrypt_content(content: bytes, key: bytes) -> str:
    padder = PKCS7(_BLOCK_BITS).padder()
    encryptor = _cipher(key).encryptor()
    padded = padder.update(content) + padder.finalize()
    return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode("ascii")


def decrypt_content(encrypted: str, key: bytes) -> bytes:
    """Raises ValueError where it was not encrypted with this key."""
    try:
        content = base64.b64decode(encrypted, validate=True)
    except binascii.Error:
        raise ValueError("the content is not base64") from None
    decryptor = _cipher(key).decryptor()
    unpadder = PKCS7(_BLOCK_BITS).unpadder()
    padded = decryptor.update(content) + decryptor.finalize()
    return unpadder.update(padded) + unpadder.finalize()


def _cipher(key: bytes) -> Cipher[modes.CBC]:
    return Cipher(algorithms.AES(key), modes.CBC(_ZERO_IV))
