"""A service is believed only by its own key, for this callee, for sixty seconds."""

import time
from pathlib import Path

import pytest

from shared.runtime.keys import key_files
from shared.runtime.keys.service_token import ServiceSigner, ServiceTokens, sign_service_token
from shared.runtime.keys.tokens import LEEWAY_SECONDS, TokenRefused, sign
from shared.tests.signing_keys import new_key, private_pem, public_pem

BILLING = new_key()
PAYMENT = new_key()


@pytest.fixture
def public_keys(tmp_path: Path) -> Path:
    (tmp_path / "billing.pem").write_bytes(public_pem(BILLING))
    (tmp_path / "payment.pem").write_bytes(public_pem(PAYMENT))
    return tmp_path


@pytest.fixture
def identity(public_keys: Path, monkeypatch: pytest.MonkeyPatch) -> ServiceTokens:
    monkeypatch.setattr(key_files, "CHECK_SECONDS", 0.0)
    return ServiceTokens(public_keys, audience="identity")


def refusal_of(identity: ServiceTokens, token: str) -> str:
    with pytest.raises(TokenRefused) as refusal:
        identity.verify(token)
    return refusal.value.code


def test_the_caller_is_known_by_its_key(identity: ServiceTokens, tmp_path: Path) -> None:
    (tmp_path / "own.key").write_bytes(private_pem(BILLING))
    signer = ServiceSigner(tmp_path / "own.key", service="billing")

    scheme, _, token = signer.authorization("identity")["Authorization"].partition(" ")

    assert scheme == "Bearer"
    assert identity.verify(token) == "billing"


def test_a_token_for_another_service_is_refused(identity: ServiceTokens) -> None:
    token = sign_service_token(BILLING, "billing", "payment")

    assert refusal_of(identity, token) == "token_invalid"


def test_a_stolen_key_of_one_service_cannot_speak_for_another(identity: ServiceTokens) -> None:
    token = sign_service_token(BILLING, "payment", "identity")

    assert refusal_of(identity, token) == "token_invalid"


def test_an_unknown_service_is_refused(identity: ServiceTokens) -> None:
    token = sign_service_token(new_key(), "billing", "identity")

    assert refusal_of(identity, token) == "token_invalid"


def test_a_token_lives_sixty_seconds(identity: ServiceTokens) -> None:
    long_ago = time.time() - 60 - LEEWAY_SECONDS - 1
    token = sign_service_token(BILLING, "billing", "identity", now=long_ago)

    assert refusal_of(identity, token) == "token_expired"


def test_a_token_that_gives_itself_longer_is_refused(identity: ServiceTokens) -> None:
    now = int(time.time())
    claims: dict[str, object] = {
        "iss": "songhe/billing",
        "aud": "identity",
        "iat": now,
        "exp": now + 61,
    }

    token = sign(claims, BILLING, token_type="service+jwt", kid=None)

    assert refusal_of(identity, token) == "token_invalid"


def test_an_access_token_is_not_a_service_token(identity: ServiceTokens) -> None:
    now = int(time.time())
    claims: dict[str, object] = {
        "iss": "songhe/billing",
        "aud": "identity",
        "iat": now,
        "exp": now + 60,
    }

    token = sign(claims, BILLING, token_type="at+jwt", kid="billing")

    assert refusal_of(identity, token) == "token_invalid"


def test_no_token_is_told_apart(identity: ServiceTokens) -> None:
    assert refusal_of(identity, "") == "token_missing"


def test_rotation_accepts_the_old_and_the_new_key_and_then_only_the_new(
    identity: ServiceTokens, public_keys: Path
) -> None:
    new = new_key()
    old_token = sign_service_token(BILLING, "billing", "identity")
    new_token = sign_service_token(new, "billing", "identity")
    assert refusal_of(identity, new_token) == "token_invalid"

    (public_keys / "billing.pem").write_bytes(public_pem(BILLING) + public_pem(new))
    assert identity.verify(old_token) == "billing"
    assert identity.verify(new_token) == "billing"

    (public_keys / "billing.pem").write_bytes(public_pem(new))
    assert refusal_of(identity, old_token) == "token_invalid"
    assert identity.verify(new_token) == "billing"
