"""The sandbox's signatures against the vendors' published test data.

The files, with their sources and licences (see NOTICE), are those that payment's adapters are
tested with: services/payment/tests/vectors/.
"""

import base64
import json
import time
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sandbox import rsa
from sandbox.alipay.signing import (
    is_request_signed,
    notification_text,
    request_text,
    signed_answer,
    signed_notification,
)
from sandbox.tests.running import ROOT
from sandbox.wechatpay import signing as wechatpay

FOLDER = ROOT / "services" / "payment" / "tests" / "vectors"
ALIPAY: dict[str, Any] = json.loads((FOLDER / "alipay_rsa2.json").read_text())
WECHATPAY: dict[str, Any] = json.loads((FOLDER / "wechatpay_v3.json").read_text())
RSA_CASES = WECHATPAY["rsa_sha256_pkcs1v15"]


def _public(content: bytes, *, der: bool = False) -> RSAPublicKey:
    load = serialization.load_der_public_key if der else serialization.load_pem_public_key
    key = load(content)
    assert isinstance(key, RSAPublicKey)
    return key


@pytest.fixture(scope="module")
def testing_key() -> RSAPrivateKey:
    """The published testing key of wechatpay-go; its markers are made to look like no key."""
    pem = RSA_CASES["private_key_pem"].replace("TESTING KEY", "PRIVATE KEY")
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    assert isinstance(key, RSAPrivateKey)
    return key


@pytest.mark.parametrize("case", ALIPAY["notify_published"], ids=lambda case: str(case["id"]))
def test_alipays_notification_has_the_text_that_it_signed(case: dict[str, Any]) -> None:
    key = _public(base64.b64decode(case["public_key_b64_der"]), der=True)

    text = notification_text(case["params"])

    assert text == case["string_to_verify"]
    assert rsa.is_signed(text, case["params"]["sign"], [key])
    assert not rsa.is_signed(f"{text}0", case["params"]["sign"], [key])


def test_an_alipay_request_is_signed_as_published() -> None:
    case, key = ALIPAY["derived"]["wap_pay_request"], ALIPAY["derived"]["public_key_pem"]
    parameters = {**case["params"], "sign": case["sign_b64"]}

    assert request_text(parameters) == case["string_to_sign"]
    assert is_request_signed(parameters, [_public(key.encode())])
    altered = {**parameters, "notify_url": "https://pay.example.org/else"}
    assert not is_request_signed(altered, [_public(key.encode())])


def test_an_alipay_answer_is_signed_over_its_raw_text(testing_key: RSAPrivateKey) -> None:
    case = ALIPAY["derived"]["trade_query_response"]

    answer = signed_answer(case["root_key"], case["string_to_verify"], testing_key)

    assert answer == case["raw"]


def test_a_notification_of_ours_verifies_by_the_published_rule(testing_key: RSAPrivateKey) -> None:
    [case] = ALIPAY["notify_published"]
    parameters = {k: v for k, v in case["params"].items() if k not in ("sign", "sign_type")}

    signed = signed_notification(parameters, testing_key)

    key = testing_key.public_key()
    assert rsa.is_signed(case["string_to_verify"], signed["sign"], [key])


@pytest.mark.parametrize("case", RSA_CASES["cases"], ids=str)
def test_wechat_pays_signatures_are_judged_as_published(case: dict[str, Any]) -> None:
    key = _public(RSA_CASES["public_key_pem"].encode())

    assert rsa.is_signed(case["message"], case["signature_b64"], [key]) is case["valid"]


def test_a_published_authorization_is_read_and_its_message_verified() -> None:
    [case] = WECHATPAY["authorization_message"]["cases"]
    key = _public(RSA_CASES["public_key_pem"].encode())

    parts = wechatpay.authorization_of(case["authorization"])
    assert parts is not None
    message = wechatpay.request_message(
        case["method"], case["canonical_url"], parts["timestamp"], parts["nonce_str"], case["body"]
    )

    assert message == case["message"]
    assert rsa.is_signed(message, parts["signature"], [key])
    assert not _accepts(parts, key), "it is years old"


def _accepts(parts: Any, key: RSAPublicKey) -> bool:
    keys = {parts["serial_no"]: key}
    return wechatpay.is_request_signed(parts, keys, method="GET", path="/v3/certificates", body="")


def test_an_order_is_signed_as_published() -> None:
    case = WECHATPAY["derived"]["h5_order_request"]
    key = _public(RSA_CASES["public_key_pem"].encode())

    message = wechatpay.request_message(
        case["method"], case["canonical_url"], case["timestamp"], case["nonce"], case["body"]
    )

    assert message == case["message"]
    assert rsa.is_signed(message, case["signature_b64"], [key])


def test_what_a_page_hands_to_the_client_is_signed_as_published() -> None:
    case = WECHATPAY["derived"]["jsapi_pay_sign"]
    key = _public(RSA_CASES["public_key_pem"].encode())

    message = wechatpay.pay_sign_message(case["message"].split("\n")[:-1])

    assert message == case["message"]
    assert rsa.is_signed(message, case["pay_sign_b64"], [key])


def test_a_resource_opens_with_its_own_key_alone() -> None:
    key, other = b"k" * 32, b"o" * 32

    sealed = wechatpay.encrypted("支付成功", key, "transaction")

    nonce, ciphertext = sealed["nonce"].encode(), base64.b64decode(sealed["ciphertext"])
    assert len(nonce) == 12
    assert AESGCM(key).decrypt(nonce, ciphertext, b"transaction").decode() == "支付成功"
    with pytest.raises(InvalidTag):
        AESGCM(other).decrypt(nonce, ciphertext, b"transaction")
    with pytest.raises(InvalidTag):
        AESGCM(key).decrypt(nonce, ciphertext, b"certificate")


def test_an_answer_is_signed_now_over_time_nonce_and_body(testing_key: RSAPrivateKey) -> None:
    headers = wechatpay.signed_headers('{"a":1}', serial="S", key=testing_key)

    at, nonce = headers["Wechatpay-Timestamp"], headers["Wechatpay-Nonce"]
    message = f'{at}\n{nonce}\n{{"a":1}}\n'
    assert rsa.is_signed(message, headers["Wechatpay-Signature"], [testing_key.public_key()])
    assert abs(time.time() - int(at)) < 60
