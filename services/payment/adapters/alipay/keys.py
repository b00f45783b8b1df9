"""Keys for Alipay from a folder: ours to sign with, Alipay's to believe, changed while we run.

`app/*.pem` are our private keys, `platform/*.pem` Alipay's public keys or certificates. With
`root.crt` we are in certificate mode, and `app/<name>.crt` is the certificate of a key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from services.payment.adapters.alipay.certificates import certificate_serial, root_serial
from services.payment.adapters.channels.rsa_signatures import (
    parse_certificate,
    parse_private_key,
    parse_public_key,
    public_key_of,
)
from shared.runtime.keys.key_files import KeyFileError, Watched


@dataclass(frozen=True, slots=True, kw_only=True)
class AlipayKeys:
    """The serials are those of certificate mode, and empty without it."""

    signing: rsa.RSAPrivateKey
    platform: tuple[rsa.RSAPublicKey, ...]
    app_certificate_serial: str = ""
    root_serial: str = ""


@dataclass(frozen=True, slots=True)
class _Certificate:
    serial: str
    public_key: rsa.RSAPublicKey


class AlipayKeyFolder:
    """Raises KeyFileError at the start; a later change that cannot be read is logged only."""

    def __init__(self, folder: Path) -> None:
        self._app = Watched(folder / "app", "*.pem", _private_keys)
        self._certificates = Watched(folder / "app", "*.crt", _certificates)
        self._platform = Watched(folder / "platform", "*.pem", _public_keys)
        self._root = Watched(folder, "root.crt", _root_serial)
        self._chosen = self._choose()

    @property
    def keys(self) -> AlipayKeys:
        try:
            self._chosen = self._choose()
        except KeyFileError:
            # Half of a rotation: key and certificate are copied one after the other.
            return self._chosen
        return self._chosen

    @property
    def platform(self) -> tuple[rsa.RSAPublicKey, ...]:
        """What verifying needs; whether ours fit together does not matter to it."""
        return self._platform.keys

    def _choose(self) -> AlipayKeys:
        app, root, platform = self._app.keys, self._root.keys, self._platform.keys
        if not root:
            return AlipayKeys(signing=app[max(app)], platform=platform)
        certificates = self._certificates.keys
        named = [name for name in app if name in certificates]
        if not named:
            raise KeyFileError("root.crt is there, and no key in app/ has a certificate")
        key, certificate = app[max(named)], certificates[max(named)]
        if key.public_key().public_numbers() != certificate.public_key.public_numbers():
            raise KeyFileError(f"app/{max(named)}.crt is not the certificate of its key")
        return AlipayKeys(
            signing=key,
            platform=platform,
            app_certificate_serial=certificate.serial,
            root_serial=root,
        )


def _private_keys(files: Mapping[str, bytes]) -> dict[str, rsa.RSAPrivateKey]:
    if not files:
        raise KeyFileError("app/ holds no *.pem")
    return {
        name: parse_private_key(content, name=f"app/{name}.pem") for name, content in files.items()
    }


def _public_keys(files: Mapping[str, bytes]) -> tuple[rsa.RSAPublicKey, ...]:
    if not files:
        raise KeyFileError("platform/ holds no *.pem")
    return tuple(
        parse_public_key(content, name=f"platform/{name}.pem") for name, content in files.items()
    )


def _certificates(files: Mapping[str, bytes]) -> dict[str, _Certificate]:
    found = {}
    for name, content in files.items():
        certificate = parse_certificate(content, name=f"app/{name}.crt")
        key = public_key_of(certificate, name=f"app/{name}.crt")
        found[name] = _Certificate(certificate_serial(certificate), key)
    return found


def _root_serial(files: Mapping[str, bytes]) -> str:
    return "".join(root_serial(content, name="root.crt") for content in files.values())
