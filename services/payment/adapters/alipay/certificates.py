"""The serial numbers that Alipay's certificate mode sends with every request.

Rule from the official SDK (alipay-sdk-nodejs-all `src/antcertutil.ts`).
"""

import hashlib
import warnings
from collections.abc import Iterator

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning

from shared.runtime.keys.key_files import KeyFileError

# Every signature with RSA; Alipay's bundle of roots holds ECDSA and SM2 certificates too.
RSA_SIGNATURES = "1.2.840.113549.1.1."
_END = b"-----END CERTIFICATE-----"
_BEGIN = b"-----BEGIN CERTIFICATE-----"


def certificate_serial(certificate: x509.Certificate) -> str:
    """MD5 over the issuer, most specific name first, and the serial number in decimal."""
    issuer = ",".join(
        f"{attribute.rfc4514_attribute_name}={attribute.value!s}"
        for attribute in reversed(list(certificate.issuer))
    )
    named = f"{issuer}{certificate.serial_number}"
    return hashlib.md5(named.encode(), usedforsecurity=False).hexdigest()


def root_serial(bundle: bytes, *, name: str) -> str:
    """The serials of the bundle's RSA certificates, joined by `_`. Raises KeyFileError.

    Read one at a time: a certificate that this library cannot read must not cost the others.
    """
    serials = [certificate_serial(certificate) for certificate in _rsa_certificates(bundle)]
    if not serials:
        raise KeyFileError(f"{name} holds no certificate that is signed with RSA")
    return "_".join(serials)


def _rsa_certificates(bundle: bytes) -> Iterator[x509.Certificate]:
    for block in bundle.split(_BEGIN)[1:]:
        pem = _BEGIN + block.partition(_END)[0] + _END + b"\n"
        with warnings.catch_warnings():
            # About the ECDSA root, whose parameters are wrong; it is left out anyway.
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            try:
                certificate = x509.load_pem_x509_certificate(pem)
                algorithm = certificate.signature_algorithm_oid.dotted_string
            except ValueError:
                continue
        if algorithm.startswith(RSA_SIGNATURES):
            yield certificate
