"""Who may ask what: tokens of the right kind, for the right audience, of the right caller."""

import base64
import hmac
import json
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from services.identity.tests.running_identity import PREFIX, Identity, bearer, new_phone
from shared.kernel.clock import SystemClock
from shared.runtime.keys.access_token import SigningKeys, sign_access_token
from shared.runtime.keys.key_files import read_signing_key
from testing.eventually import eventually

Claims = dict[str, Any]
SOMEBODY = "0198f6f4-0000-7000-8000-000000000000"


def claims_of(token: str) -> Claims:
    claims: Claims = jwt.decode(token, options={"verify_signature": False})
    return claims


def part(value: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def own_key(identity: Identity) -> ec.EllipticCurvePrivateKey:
    return read_signing_key(identity.keys / "access-tokens" / "access-1.pem")


def signed(identity: Identity, token: str, *, typ: str = "at+jwt", **changes: object) -> str:
    """The token's claims, changed, and signed again with the true key."""
    return jwt.encode(
        claims_of(token) | changes,
        own_key(identity),
        algorithm="ES256",
        headers={"kid": "access-1", "typ": typ},
    )


def by_a_stranger(identity: Identity, token: str) -> str:
    return jwt.encode(
        claims_of(token),
        ec.generate_private_key(ec.SECP256R1()),
        algorithm="ES256",
        headers={"kid": "access-1", "typ": "at+jwt"},
    )


def by_the_public_key_as_a_secret(identity: Identity, token: str) -> str:
    public = own_key(identity).public_key()
    secret = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    # By hand: PyJWT refuses to do what an attacker would.
    head = part({"alg": "HS256", "kid": "access-1", "typ": "at+jwt"})
    signing_input = f"{head}.{token.split('.')[1]}"
    mac = hmac.digest(secret, signing_input.encode(), "sha256")
    return f"{signing_input}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def with_a_key_of_its_own(identity: Identity, token: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    jwk = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    headers = {"kid": "access-1", "typ": "at+jwt", "jwk": jwk}
    return jwt.encode(claims_of(token), key, algorithm="ES256", headers=headers)


FORGERIES: dict[str, Callable[[Identity, str], str]] = {
    "garbage": lambda _, token: "garbage",
    "cut off": lambda _, token: token[:-10],
    "without a signature": lambda _, token: (
        f"{part({'alg': 'none', 'typ': 'at+jwt', 'kid': 'access-1'})}.{token.split('.')[1]}."
    ),
    "a stranger's key": by_a_stranger,
    "key confusion": by_the_public_key_as_a_secret,
    "key inside": with_a_key_of_its_own,
    "expired": lambda identity, token: signed(identity, token, exp=int(time.time()) - 60),
    "wrong audience": lambda identity, token: signed(identity, token, aud="identity"),
    "wrong issuer": lambda identity, token: signed(identity, token, iss="songhe/billing"),
    "wrong type": lambda identity, token: signed(identity, token, typ="JWT"),
    "without expiry": lambda identity, token: signed(identity, token, exp=None),
    "no person": lambda identity, token: signed(identity, token, sub="x"),
    "a service's token": lambda identity, _: identity.service_token("notifier"),
}


@pytest.mark.parametrize("name", FORGERIES)
async def test_a_token_that_is_not_ours_opens_nothing(identity: Identity, name: str) -> None:
    session = await identity.logged_in()
    forged = bearer(FORGERIES[name](identity, session["access_token"]))

    me = await identity.http.get(f"{PREFIX}/me", headers=forged)
    log_out = await identity.http.delete(f"{PREFIX}/sessions/current", headers=forged)

    for answer in (me, log_out):
        assert answer.status_code == 401
        assert answer.json()["code"] in ("token_invalid", "token_expired")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert (await identity.me(session)).status_code == 200


async def test_without_a_token_nothing_is_told(identity: Identity) -> None:
    answers = [
        await identity.http.get(f"{PREFIX}/me"),
        await identity.http.delete(f"{PREFIX}/sessions/current"),
        await identity.http.get(f"{PREFIX}/internal/contacts/{SOMEBODY}"),
    ]

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {
        (401, "token_missing")
    }


async def test_a_true_token_of_a_session_that_identity_does_not_know_is_refused(
    identity: Identity,
) -> None:
    one, other = await identity.logged_in(), await identity.logged_in()
    swapped = sign_access_token(
        SigningKeys(identity.keys / "access-tokens").newest,
        insured_person_id=uuid.UUID(one["insured_person_id"]),
        session_id=uuid.UUID(claims_of(other["access_token"])["sid"]),
        now=SystemClock().now(),
    )

    answer = await identity.http.get(f"{PREFIX}/me", headers=bearer(swapped))

    assert (answer.status_code, answer.json()["code"]) == (401, "session_ended")


async def test_notifier_may_ask_for_a_contact(identity: Identity) -> None:
    phone = new_phone()
    person_id = (await identity.logged_in(phone))["insured_person_id"]

    answer = await identity.contact(person_id, identity.service_token("notifier"))

    assert answer.status_code == 200
    assert answer.json() == {"insured_person_id": person_id, "phone": phone}
    assert answer.headers["cache-control"] == "no-store"


async def test_a_contact_that_nobody_is_gives_404(identity: Identity) -> None:
    token = identity.service_token("notifier")

    unknown = await identity.contact(SOMEBODY, token)
    malformed = await identity.contact("x", token)

    assert (unknown.status_code, unknown.json()["code"]) == (404, "person_unknown")
    assert (malformed.status_code, malformed.json()["code"]) == (422, "invalid_request")


async def test_nobody_else_may_ask_for_a_contact(identity: Identity) -> None:
    session = await identity.logged_in()
    person_id = session["insured_person_id"]
    notifier_key = read_signing_key(identity.keys / "services" / "notifier.pem")
    now = int(time.time())
    long_lived = {"iss": "songhe/notifier", "aud": "identity", "iat": now, "exp": now + 3600}

    answers = {
        "the person": await identity.contact(person_id, session["access_token"]),
        "billing": await identity.contact(person_id, identity.service_token("billing")),
        "payment": await identity.contact(person_id, identity.service_token("payment")),
        "identity": await identity.contact(person_id, identity.service_token("identity")),
        "wrong audience": await identity.contact(
            person_id, identity.service_token("notifier", audience="billing")
        ),
        "long-lived": await identity.contact(
            person_id,
            jwt.encode(long_lived, notifier_key, "ES256", headers={"typ": "service+jwt"}),
        ),
    }

    statuses = {name: answer.status_code for name, answer in answers.items()}
    assert statuses == {
        "the person": 401,
        "billing": 403,
        "payment": 403,
        "identity": 401,
        "wrong audience": 401,
        "long-lived": 401,
    }
    assert not any("phone" in answer.json() for answer in answers.values())


async def test_every_published_key_verifies_and_the_last_one_signs(
    identity: Identity, keys: Path
) -> None:
    old = await identity.logged_in()
    newer = keys / "access-tokens" / "access-2.pem"
    newer.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )

    async def both_are_published() -> bool:
        answer = await identity.http.get(f"{PREFIX}/.well-known/jwks.json")
        assert answer.headers["cache-control"] == "public, max-age=60"
        published = answer.json()["keys"]
        assert all("d" not in key and key["alg"] == "ES256" for key in published)
        return [key["kid"] for key in published] == ["access-1", "access-2"]

    try:
        await eventually(both_are_published)
        new = await identity.logged_in()

        assert jwt.get_unverified_header(new["access_token"])["kid"] == "access-2"
        assert (await identity.me(old)).status_code == 200
        assert (await identity.me(new)).status_code == 200
    finally:
        newer.unlink()


async def test_an_access_token_lives_for_fifteen_minutes(identity: Identity) -> None:
    session = await identity.logged_in()

    claims = claims_of(session["access_token"])

    assert claims["exp"] - claims["iat"] == timedelta(minutes=15).total_seconds()
    assert set(claims) == {"iss", "aud", "sub", "sid", "iat", "exp"}
