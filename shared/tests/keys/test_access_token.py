"""An access token is accepted only when identity made it, for us, and not too long ago."""

import base64
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from shared.kernel.errors import Unavailable
from shared.runtime.keys import access_token, key_files
from shared.runtime.keys.access_token import AccessTokens, Jwks, SigningKeys, sign_access_token
from shared.runtime.keys.tokens import LEEWAY_SECONDS, TokenRefused
from shared.tests.signing_keys import new_key, public_pem, write_signing_key

NOW = datetime.now(UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_signing_key(tmp_path / "2026-01.pem")
    return tmp_path


@pytest.fixture
def keys(folder: Path) -> SigningKeys:
    return SigningKeys(folder)


@pytest.fixture
def verifier(keys: SigningKeys) -> AccessTokens:
    return AccessTokens(keys)


def a_token(keys: SigningKeys, **changed: Any) -> str:
    arguments: dict[str, Any] = {
        "insured_person_id": uuid4(),
        "session_id": uuid4(),
        "now": datetime.now(UTC),
    }
    return sign_access_token(keys.newest, **arguments | changed)


def claims(**changed: object) -> dict[str, object]:
    now = int(datetime.now(UTC).timestamp())
    good: dict[str, object] = {
        "iss": "songhe/identity",
        "aud": "songhe",
        "sub": str(uuid4()),
        "sid": str(uuid4()),
        "iat": now,
        "exp": now + 900,
    }
    return {name: value for name, value in (good | changed).items() if value is not None}


def forged(
    keys: SigningKeys,
    *,
    payload: dict[str, object] | None = None,
    headers: dict[str, object] | None = None,
    key: Any = None,
) -> str:
    header = {"typ": "at+jwt", "kid": keys.newest.kid} | (headers or {})
    return jwt.encode(
        payload or claims(), key or keys.newest.key, algorithm="ES256", headers=header
    )


def unsigned(header: object, payload: object, signature: str = "") -> str:
    parts = [
        base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=") for p in (header, payload)
    ]
    return b".".join(parts).decode() + "." + signature


def signed_with_the_public_key_as_secret(keys: SigningKeys) -> str:
    """The old confusion: a verifier that trusts `alg` takes the public key for a secret."""
    header = {"alg": "HS256", "typ": "at+jwt", "kid": keys.newest.kid}
    head = unsigned(header, claims()).removesuffix(".")
    signature = hmac.digest(public_pem(keys.newest.key), head.encode(), "sha256")
    return f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def with_an_embedded_key(keys: SigningKeys) -> str:
    own = new_key()
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(own.public_key(), as_dict=True)
    return forged(keys, key=own, headers={"jwk": jwk})


def with_a_key_address(keys: SigningKeys) -> str:
    return forged(
        keys, key=new_key(), headers={"jku": "https://127.0.0.1/keys", "x5u": "https://127.0.0.1/"}
    )


def with_another_curve(keys: SigningKeys) -> str:
    key = ec.generate_private_key(ec.SECP384R1())
    headers = {"typ": "at+jwt", "kid": keys.newest.kid}
    return jwt.encode(claims(), key, algorithm="ES384", headers=headers)


def with_rsa(keys: SigningKeys) -> str:
    key = rsa.generate_private_key(65537, 2048)
    headers = {"typ": "at+jwt", "kid": keys.newest.kid}
    return jwt.encode(claims(), key, algorithm="RS256", headers=headers)


def with_a_flipped_signature(keys: SigningKeys) -> str:
    head, _, signature = forged(keys).rpartition(".")
    return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def with_other_claims_under_the_same_signature(keys: SigningKeys) -> str:
    header, _, signature = forged(keys).split(".")
    other = base64.urlsafe_b64encode(json.dumps(claims()).encode()).rstrip(b"=").decode()
    return f"{header}.{other}.{signature}"


def deeply_nested(keys: SigningKeys) -> str:
    return base64.urlsafe_b64encode(b"[" * 3000).decode() + ".e30.AA"


ATTACKS: dict[str, Callable[[SigningKeys], str]] = {
    "alg none": lambda keys: unsigned({"alg": "none", "typ": "at+jwt"}, claims()),
    "alg None": lambda keys: unsigned({"alg": "None", "typ": "at+jwt"}, claims(), "AA"),
    "no alg": lambda keys: unsigned({"typ": "at+jwt"}, claims(), "AA"),
    "HS256 with the public key": signed_with_the_public_key_as_secret,
    "ES384": with_another_curve,
    "RS256": with_rsa,
    "foreign key": lambda keys: forged(keys, key=new_key()),
    "jwk header": with_an_embedded_key,
    "jku header": with_a_key_address,
    "crit header": lambda keys: forged(keys, headers={"crit": ["exp"]}),
    "unknown kid": lambda keys: forged(keys, headers={"kid": "other"}),
    "path as kid": lambda keys: forged(keys, headers={"kid": "../../etc/passwd"}),
    "no kid": lambda keys: unsigned({"alg": "ES256", "typ": "at+jwt"}, claims(), "AA"),
    "kid is a list": lambda keys: unsigned({"alg": "ES256", "typ": "at+jwt", "kid": []}, {}, "AA"),
    "typ JWT": lambda keys: forged(keys, headers={"typ": "JWT"}),
    "typ service": lambda keys: forged(keys, headers={"typ": "service+jwt"}),
    "no typ": lambda keys: forged(keys, headers={"typ": None}),
    "other audience": lambda keys: forged(keys, payload=claims(aud="billing")),
    "many audiences": lambda keys: forged(keys, payload=claims(aud=["songhe", "other"])),
    "no audience": lambda keys: forged(keys, payload=claims(aud=None)),
    "other issuer": lambda keys: forged(keys, payload=claims(iss="songhe/billing")),
    "no issuer": lambda keys: forged(keys, payload=claims(iss=None)),
    "no expiry": lambda keys: forged(keys, payload=claims(exp=None)),
    "expiry as text": lambda keys: forged(keys, payload=claims(exp="tomorrow")),
    "expiry beyond all time": lambda keys: forged(keys, payload=claims(exp=1e400)),
    "issued in the future": lambda keys: a_token(keys, now=datetime.now(UTC) + timedelta(hours=1)),
    "not before tomorrow": lambda keys: forged(keys, payload=claims(nbf=NOW.timestamp() + 86400)),
    "no subject": lambda keys: forged(keys, payload=claims(sub=None)),
    "subject is no id": lambda keys: forged(keys, payload=claims(sub="1 OR 1=1")),
    "subject is a number": lambda keys: forged(keys, payload=claims(sub=1)),
    "no session": lambda keys: forged(keys, payload=claims(sid=None)),
    "roles are a text": lambda keys: forged(keys, payload=claims(roles="operator")),
    "roles hold numbers": lambda keys: forged(keys, payload=claims(roles=[1])),
    "flipped signature": with_a_flipped_signature,
    "no signature": lambda keys: forged(keys).rpartition(".")[0] + ".",
    "two parts": lambda keys: forged(keys).rpartition(".")[0],
    "other claims": with_other_claims_under_the_same_signature,
    "payload is a list": lambda keys: unsigned({"alg": "ES256", "typ": "at+jwt"}, [], "AA"),
    "header is a list": lambda keys: unsigned([], claims(), "AA"),
    "deep header": deeply_nested,
    "not a token": lambda keys: "hello",
    "dots": lambda keys: "...",
    "not ASCII": lambda keys: forged(keys) + "é",
    "NUL": lambda keys: "\x00.\x00.\x00",
    "huge": lambda keys: "A" * 100_000,
}


async def test_a_token_of_identity_names_its_person(
    keys: SigningKeys, verifier: AccessTokens
) -> None:
    person, session = uuid4(), uuid4()
    token = a_token(keys, insured_person_id=person, session_id=session, roles=["operator"])

    subject = await verifier.verify(token)

    assert subject.insured_person_id == person
    assert subject.session_id == session
    assert subject.roles == {"operator"}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_no_forged_token_is_accepted(
    keys: SigningKeys, verifier: AccessTokens, attack: str
) -> None:
    token = ATTACKS[attack](keys)

    with pytest.raises(TokenRefused) as refusal:
        await verifier.verify(token)

    assert refusal.value.code == "token_invalid"


async def test_an_expired_token_says_so(keys: SigningKeys, verifier: AccessTokens) -> None:
    long_ago = datetime.now(UTC) - timedelta(minutes=15, seconds=LEEWAY_SECONDS + 1)

    with pytest.raises(TokenRefused) as refusal:
        await verifier.verify(a_token(keys, now=long_ago))

    assert refusal.value.code == "token_expired"


async def test_no_token_says_so(verifier: AccessTokens) -> None:
    with pytest.raises(TokenRefused) as refusal:
        await verifier.verify("")

    assert refusal.value.code == "token_missing"


async def test_rotation_signs_with_the_new_key_and_accepts_the_old_until_it_goes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_files, "CHECK_SECONDS", 0.0)
    keys = SigningKeys(folder)
    verifier = AccessTokens(keys)
    old_token = a_token(keys)

    write_signing_key(folder / "2026-02.pem")

    assert keys.newest.kid == "2026-02"
    await verifier.verify(old_token)
    await verifier.verify(a_token(keys))
    (folder / "2026-01.pem").unlink()
    with pytest.raises(TokenRefused):
        await verifier.verify(old_token)


def test_the_published_keys_hold_nothing_private(keys: SigningKeys) -> None:
    (published,) = keys.jwks()["keys"]

    assert set(published) == {"kty", "crv", "x", "y", "kid", "use", "alg"}


class Identity:
    """Identity's JWKS endpoint: may be down, and counts how often it is asked."""

    def __init__(self, keys: SigningKeys) -> None:
        self.document: Any = keys.jwks()
        self.is_up = True
        self.asked = 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        assert request.url.path == "/identity/v1/.well-known/jwks.json"
        return httpx2.Response(200, json=self.document) if self.is_up else httpx2.Response(503)


def jwks_of(identity: Identity) -> Jwks:
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(identity))
    return Jwks("http://identity.test", client=client)


async def test_keys_come_from_identity_and_are_kept(keys: SigningKeys) -> None:
    identity = Identity(keys)
    verifier = AccessTokens(jwks_of(identity))

    for _ in range(10):
        await verifier.verify(a_token(keys))

    assert identity.asked == 1


async def test_identity_down_at_the_start_is_unavailable_and_not_a_refusal(
    keys: SigningKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = Identity(keys)
    identity.is_up = False
    jwks = jwks_of(identity)

    with pytest.raises(Unavailable) as unavailable:
        await AccessTokens(jwks).verify(a_token(keys))

    assert unavailable.value.code == "keys_unavailable"
    identity.is_up = True
    monkeypatch.setattr(jwks, "_tried_at", float("-inf"))
    await AccessTokens(jwks).verify(a_token(keys))


async def test_old_keys_stay_valid_while_identity_is_down(keys: SigningKeys) -> None:
    identity = Identity(keys)
    jwks = jwks_of(identity)
    await AccessTokens(jwks).verify(a_token(keys))

    identity.is_up = False
    await jwks._refresh()

    await AccessTokens(jwks).verify(a_token(keys))


@pytest.mark.parametrize("document", [[], {}, {"keys": []}, {"keys": [1, {"kid": "x"}]}, "keys"])
async def test_a_damaged_key_set_does_not_replace_a_good_one(
    keys: SigningKeys, document: object
) -> None:
    identity = Identity(keys)
    jwks = jwks_of(identity)
    await AccessTokens(jwks).verify(a_token(keys))

    identity.document = document
    assert not await jwks._refresh()

    await AccessTokens(jwks).verify(a_token(keys))


async def test_invented_key_ids_do_not_make_us_hammer_identity(keys: SigningKeys) -> None:
    identity = Identity(keys)
    verifier = AccessTokens(jwks_of(identity))

    for number in range(100):
        with pytest.raises(TokenRefused):
            await verifier.verify(forged(keys, headers={"kid": f"invented-{number}"}))

    assert identity.asked == 1


async def test_a_new_key_of_identity_is_found_after_the_pause(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_files, "CHECK_SECONDS", 0.0)
    keys = SigningKeys(folder)
    identity = Identity(keys)
    jwks = jwks_of(identity)
    await AccessTokens(jwks).verify(a_token(keys))
    write_signing_key(folder / "2026-02.pem")
    identity.document = keys.jwks()

    monkeypatch.setattr(access_token, "UNKNOWN_KEY_PAUSE_SECONDS", 0.0)

    await AccessTokens(jwks).verify(a_token(keys))
