"""What access tokens and service tokens have in common: strict ES256, and nothing else.

The algorithm, the type and the key never come from the token: `alg` and `typ` must be exactly
ours, and `jku`, `jwk`, `x5u` and `crit` are not even looked at.
"""

from collections.abc import Sequence
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from shared.kernel.errors import SongheError

ALGORITHM = "ES256"
# Clocks of our own machines differ by less; a token lives that much longer at most.
LEEWAY_SECONDS = 10
# Ours have about 500 characters; a longer one is not worth parsing.
TOKEN_CHARACTERS_MAX = 4096


class TokenRefused(SongheError):
    """The caller is not known: a 401 answer. `code` is token_missing, _expired or _invalid."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


def refuse(detail: str) -> TokenRefused:
    return TokenRefused("token_invalid", detail)


def read_header(token: str, *, token_type: str) -> dict[str, Any]:
    """The header of a token that could be ours; raises TokenRefused."""
    if not token:
        raise TokenRefused("token_missing", "Send a token in the Authorization header.")
    if len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
        raise refuse("The token is damaged.")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise refuse("The token is damaged.") from None
    if header.get("alg") != ALGORITHM or header.get("typ") != token_type or "crit" in header:
        raise refuse("The token is of another kind.")
    return header


def read_claims(
    token: str,
    key: ec.EllipticCurvePublicKey,
    *,
    issuer: str,
    audience: str,
    required: Sequence[str],
) -> dict[str, Any]:
    """The claims of a token that `key` signed; raises TokenRefused."""
    try:
        return jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            issuer=issuer,
            audience=audience,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iat", *required], "strict_aud": True},
        )
    except jwt.ExpiredSignatureError:
        raise TokenRefused("token_expired", "The token has expired.") from None
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
        raise refuse("The token is not valid here.") from None


def sign(
    claims: dict[str, object], key: ec.EllipticCurvePrivateKey, *, token_type: str, kid: str | None
) -> str:
    headers = {"typ": token_type} | ({"kid": kid} if kid is not None else {})
    return jwt.encode(claims, key, algorithm=ALGORITHM, headers=headers)
