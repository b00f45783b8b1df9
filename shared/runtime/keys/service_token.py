"""Tokens between services: each signs its own and lives 60 seconds.

ES256, `typ` service+jwt, `iss` songhe/<caller>, `aud` the called service. The callee knows the
callers by a folder of `<service>.pem` public keys, which may hold two keys during a rotation.
"""

import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from shared.runtime.keys.key_files import Watched, parse_public_keys, parse_signing_key
from shared.runtime.keys.tokens import TokenRefused, read_claims, read_header, refuse, sign

TOKEN_TYPE = "service+jwt"
LIFETIME_SECONDS = 60
ISSUER_PREFIX = "songhe/"

PublicKeys = dict[str, list[ec.EllipticCurvePublicKey]]


class ServiceSigner:
    """This service's own key: gives the header with which it calls another service."""

    def __init__(self, key_file: Path, *, service: str) -> None:
        self._watched = Watched(key_file.parent, key_file.name, _parse_signing_key)
        self._service = service

    def authorization(self, audience: str) -> dict[str, str]:
        """The header for one call to the service `audience`."""
        token = sign_service_token(self._watched.keys, self._service, audience)
        return {"Authorization": f"Bearer {token}"}


class ServiceTokens:
    """Verifies the tokens with which other services call `audience`."""

    def __init__(self, public_keys: Path, *, audience: str) -> None:
        self._watched = Watched(public_keys, "*.pem", _parse_public_keys)
        self._audience = audience

    def verify(self, token: str) -> str:
        """The name of the calling service; raises TokenRefused."""
        read_header(token, token_type=TOKEN_TYPE)
        expired = False
        for service, keys in self._watched.keys.items():
            for key in keys:
                try:
                    return self._verify(token, service, key)
                except TokenRefused as refusal:
                    expired |= refusal.code == "token_expired"
        if expired:
            raise TokenRefused("token_expired", "The token has expired.")
        raise refuse("The token is not valid here.")

    def _verify(self, token: str, service: str, key: ec.EllipticCurvePublicKey) -> str:
        claims = read_claims(
            token,
            key,
            issuer=ISSUER_PREFIX + service,
            audience=self._audience,
            required=("iss", "aud"),
        )
        if claims["exp"] - claims["iat"] > LIFETIME_SECONDS:
            raise refuse("The token lives too long.")
        return service


def sign_service_token(
    key: ec.EllipticCurvePrivateKey, issuer: str, audience: str, *, now: float | None = None
) -> str:
    """A token by which service `issuer` may call service `audience` for 60 seconds."""
    issued_at = int(time.time() if now is None else now)
    claims: dict[str, object] = {
        "iss": ISSUER_PREFIX + issuer,
        "aud": audience,
        "iat": issued_at,
        "exp": issued_at + LIFETIME_SECONDS,
    }
    return sign(claims, key, token_type=TOKEN_TYPE, kid=None)


def _parse_signing_key(files: dict[str, bytes]) -> ec.EllipticCurvePrivateKey:
    name, content = next(iter(files.items()), ("the service key file", b""))
    return parse_signing_key(content, name=name)


def _parse_public_keys(files: dict[str, bytes]) -> PublicKeys:
    return {name: parse_public_keys(content, name=name) for name, content in files.items()}
