"""Access tokens of persons: identity signs, every service verifies. Both sides live here.

ES256, `typ` at+jwt (RFC 9068), `iss` songhe/identity, `aud` songhe, `sub` the insured person,
`sid` the session, `roles` optional.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import httpx2
import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from shared.kernel.errors import Unavailable
from shared.runtime.keys.key_files import KeyFileError, Watched, parse_signing_key
from shared.runtime.keys.tokens import read_claims, read_header, refuse, sign

ISSUER = "songhe/identity"
AUDIENCE = "songhe"
TOKEN_TYPE = "at+jwt"
LIFETIME_SECONDS = 15 * 60
JWKS_PATH = "/identity/v1/.well-known/jwks.json"

REFRESH_SECONDS = 300.0
# Somebody who invents key ids must not make us hammer identity.
UNKNOWN_KEY_PAUSE_SECONDS = 10.0
FETCH_DEADLINE_SECONDS = 2.0
RETRY_SECONDS_MAX = 30.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is calling: every query carries `insured_person_id`."""

    insured_person_id: UUID
    session_id: UUID
    roles: frozenset[str] = frozenset()


class KeySource(Protocol):
    """Where a verifier finds the public key that a token names."""

    async def key(self, kid: str) -> ec.EllipticCurvePublicKey | None:
        """None where no such key exists; raises Unavailable where that cannot be known now."""


class NamedKey(NamedTuple):
    """A private key and the name by which tokens refer to it."""

    kid: str
    key: ec.EllipticCurvePrivateKey


class SigningKeys:
    """Identity's own keys: the last in name order signs, all are published and verify."""

    def __init__(self, folder: Path) -> None:
        self._watched = Watched(folder, "*.pem", _parse_signing_keys)

    @property
    def newest(self) -> NamedKey:
        keys = self._watched.keys
        kid = max(keys)
        return NamedKey(kid, keys[kid])

    async def key(self, kid: str) -> ec.EllipticCurvePublicKey | None:
        key = self._watched.keys.get(kid)
        return None if key is None else key.public_key()

    def jwks(self) -> dict[str, list[dict[str, Any]]]:
        """The public keys as a JWK set (RFC 7517)."""
        return {"keys": [_jwk(kid, key) for kid, key in sorted(self._watched.keys.items())]}


class Jwks:
    """Identity's public keys over HTTP. A Component: `run` keeps them fresh in the background.

    Identity may be down: keys fetched before stay valid; before the first fetch every
    look-up raises Unavailable.
    """

    name = "jwks"

    def __init__(self, identity_url: str, *, client: httpx2.AsyncClient | None = None) -> None:
        self._url = identity_url.rstrip("/") + JWKS_PATH
        self._client = client or httpx2.AsyncClient(timeout=FETCH_DEADLINE_SECONDS, trust_env=False)
        self._keys: dict[str, ec.EllipticCurvePublicKey] = {}
        self._fetching = asyncio.Lock()
        self._tried_at = -UNKNOWN_KEY_PAUSE_SECONDS
        self._last_try_worked = False

    async def run(self, stopping: asyncio.Event) -> None:
        pause = 1.0
        while not stopping.is_set():
            worked = await self._refresh()
            pause = REFRESH_SECONDS if worked else min(pause * 2, RETRY_SECONDS_MAX)
            try:
                await asyncio.wait_for(stopping.wait(), pause)
            except TimeoutError:
                pause = 1.0 if worked else pause

    async def close(self) -> None:
        await self._client.aclose()

    async def key(self, kid: str) -> ec.EllipticCurvePublicKey | None:
        if kid not in self._keys:
            await self._ask_again()
        if kid not in self._keys and not self._last_try_worked:
            raise Unavailable("keys_unavailable", "Tokens cannot be checked at the moment.")
        return self._keys.get(kid)

    async def _ask_again(self) -> None:
        async with self._fetching:
            pause = UNKNOWN_KEY_PAUSE_SECONDS if self._keys else 1.0
            if time.monotonic() - self._tried_at >= pause:
                await self._fetch()

    async def _refresh(self) -> bool:
        async with self._fetching:
            return await self._fetch()

    async def _fetch(self) -> bool:
        self._last_try_worked = False
        try:
            async with asyncio.timeout(FETCH_DEADLINE_SECONDS):
                response = await self._client.get(self._url)
            response.raise_for_status()
            self._keys = _parse_jwks(response.json())
            self._last_try_worked = True
        except (httpx2.HTTPError, TimeoutError, OSError, ValueError, RecursionError) as error:
            log.warning("jwks_not_fetched", error=type(error).__name__)
        finally:
            self._tried_at = time.monotonic()
        return self._last_try_worked


class AccessTokens:
    """Verifies access tokens with the keys of `keys`."""

    def __init__(self, keys: KeySource) -> None:
        self._keys = keys

    async def verify(self, token: str) -> Subject:
        """Raises TokenRefused, or Unavailable where the keys are not known yet."""
        header = read_header(token, token_type=TOKEN_TYPE)
        kid = header.get("kid")
        key = await self._keys.key(kid) if isinstance(kid, str) else None
        if key is None:
            raise refuse("The token was signed with an unknown key.")
        claims = read_claims(
            token, key, issuer=ISSUER, audience=AUDIENCE, required=("iss", "aud", "sub", "sid")
        )
        return _subject(claims)


def sign_access_token(
    signing: NamedKey,
    *,
    insured_person_id: UUID,
    session_id: UUID,
    now: datetime,
    roles: Iterable[str] = (),
    lifetime_seconds: int = LIFETIME_SECONDS,
) -> str:
    """A token that `AccessTokens` accepts until `now` + `lifetime_seconds`."""
    issued_at = int(now.timestamp())
    claims: dict[str, object] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(insured_person_id),
        "sid": str(session_id),
        "iat": issued_at,
        "exp": issued_at + lifetime_seconds,
    }
    if granted := sorted(roles):
        claims["roles"] = granted
    return sign(claims, signing.key, token_type=TOKEN_TYPE, kid=signing.kid)


def _subject(claims: dict[str, Any]) -> Subject:
    roles = claims.get("roles", [])
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise refuse("The token is damaged.")
    try:
        person, session = UUID(str(claims["sub"])), UUID(str(claims["sid"]))
    except ValueError:
        raise refuse("The token is damaged.") from None
    return Subject(insured_person_id=person, session_id=session, roles=frozenset(roles))


def _parse_signing_keys(files: dict[str, bytes]) -> dict[str, ec.EllipticCurvePrivateKey]:
    if not files:
        raise KeyFileError("there is no key to sign with")
    return {kid: parse_signing_key(content, name=kid) for kid, content in files.items()}


def _jwk(kid: str, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return public | {"kid": kid, "use": "sig", "alg": "ES256"}


def _parse_jwks(document: object) -> dict[str, ec.EllipticCurvePublicKey]:
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("not a JWK set")
    keys = {}
    for jwk in listed:
        key = _parse_jwk(jwk)
        if key is not None:
            keys[str(jwk["kid"])] = key
    if not keys:
        raise ValueError("a JWK set without a key of ours")
    return keys


def _parse_jwk(jwk: object) -> ec.EllipticCurvePublicKey | None:
    """A P-256 signing key; others in the set are somebody else's business."""
    if not isinstance(jwk, dict) or jwk.get("crv") != "P-256" or "kid" not in jwk or "d" in jwk:
        return None
    try:
        key = ECAlgorithm.from_jwk(jwk)
    except jwt.PyJWTError:
        return None
    return key if isinstance(key, ec.EllipticCurvePublicKey) else None
