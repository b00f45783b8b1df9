"""RSA as both cashier channels use it: SHA-256 with PKCS#1 v1.5, in base64; keys come as PEM.

Parsing raises KeyFileError, whose message names the file and never what is in it.
"""

import base64
import binascii

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from services.payment.domain.channel_notification import RefusalReason
from shared.runtime.keys.key_files import KeyFileError

# Both channels sign with RSA-2048; a shorter key is a mistake or an attack.
KEY_BITS_MIN = 2048
_PADDING, _HASH = padding.PKCS1v15(), hashes.SHA256()
CERTIFICATE_BEGINS = b"-----BEGIN CERTIFICATE-----"


class NotVerified(ValueError):
    """The message is not certainly the channel's, and `reason` says why not.

    MALFORMED also means that it can be read in more than one way.
    """

    def __init__(self, reason: RefusalReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


def sign(key: rsa.RSAPrivateKey, message: bytes) -> str:
    """The signature in base64."""
    signature = key.sign(message, _PADDING, _HASH)
    return base64.b64encode(signature).decode("ascii")


def is_signed(key: rsa.RSAPublicKey, message: bytes, signature: str) -> bool:
    """Whether `signature` (base64) over exactly these bytes was made with the key's other half."""
    try:
        decoded = base64.b64decode(signature, validate=True)
        key.verify(decoded, message, _PADDING, _HASH)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def parse_private_key(content: bytes, *, name: str) -> rsa.RSAPrivateKey:
    """An RSA private key; PKCS#8 is what both channels hand out."""
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError):
        raise KeyFileError(f"{name} is not a private key in PEM") from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < KEY_BITS_MIN:
        raise KeyFileError(f"{name} is not an RSA key of at least {KEY_BITS_MIN} bits")
    return key


def parse_public_key(content: bytes, *, name: str) -> rsa.RSAPublicKey:
    """The RSA public key that the file holds, by itself or in a certificate."""
    if CERTIFICATE_BEGINS in content:
        return public_key_of(parse_certificate(content, name=name), name=name)
    try:
        key = serialization.load_pem_public_key(content)
    except (ValueError, TypeError):
        raise KeyFileError(f"{name} is not a public key in PEM") from None
    return _strong(key, name)


def parse_certificate(content: bytes, *, name: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(content)
    except ValueError:
        raise KeyFileError(f"{name} is not a certificate in PEM") from None


def public_key_of(certificate: x509.Certificate, *, name: str) -> rsa.RSAPublicKey:
    return _strong(certificate.public_key(), name)


def _strong(key: object, name: str) -> rsa.RSAPublicKey:
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < KEY_BITS_MIN:
        raise KeyFileError(f"{name} is not an RSA key of at least {KEY_BITS_MIN} bits")
    return key
