"""WeChat Pay's signatures against published test data, and against everything that looks right.

Vectors: vectors/wechatpay_v3.json, from wechatpay-go@6dbd7ce and wechatpay-java@1dab7be.
"""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.payment.adapters.channels.rsa_signatures import (
    NotVerified,
    is_signed,
    parse_certificate,
    parse_public_key,
    sign,
)
from services.payment.adapters.wechatpay import signing as wechatpay_signing
from services.payment.domain.channel_notification import RefusalReason
from services.payment.tests.channel_keys import an_rsa_key, vectors, wechatpay_key

VECTORS = vectors("wechatpay_v3.json")
RSA_CASES = VECTORS["rsa_sha256_pkcs1v15"]
NOW = datetime(2026, 11, 24, 4, 30, tzinfo=UTC)
BODY = b'{"id":"1"}'
OLD, NEW = an_rsa_key("certificate"), an_rsa_key("public key")
OLD_SERIAL, NEW_SERIAL = "A1B2C3D4", "PUB_KEY_ID_0119000000012026"
KEYS = {OLD_SERIAL: OLD.public_key(), NEW_SERIAL: NEW.public_key()}


def signed_headers(**changes: str) -> dict[str, str]:
    timestamp, nonce = str(int(NOW.timestamp())), "593BEC0C930BF1AFEB40B4A08C8FB242"
    message = wechatpay_signing.answer_message(timestamp, nonce, BODY)
    return {
        "wechatpay-timestamp": timestamp,
        "wechatpay-nonce": nonce,
        "wechatpay-serial": OLD_SERIAL,
        "wechatpay-signature": sign(OLD, message),
        "wechatpay-signature-type": "WECHATPAY2-SHA256-RSA2048",
    } | changes


def refusal(headers: Mapping[str, str], body: bytes = BODY, now: datetime = NOW) -> RefusalReason:
    with pytest.raises(NotVerified) as refused:
        wechatpay_signing.check_signature(headers, body, keys=KEYS, now=now)
    return refused.value.reason


@pytest.mark.parametrize("case", RSA_CASES["cases"])
def test_rsa_signatures_are_judged_like_the_vectors(case: dict[str, Any]) -> None:
    message, signature = case["message"].encode(), case["signature_b64"]

    for name in ("public_key_pem", "certificate_pem"):
        key = parse_public_key(RSA_CASES[name].encode(), name=name)
        assert is_signed(key, message, signature) is case["valid"]
    if case["valid"]:
        assert sign(wechatpay_key(), message) == signature


def test_the_serial_of_the_published_certificate_is_read() -> None:
    certificate = parse_certificate(RSA_CASES["certificate_pem"].encode(), name="vector")

    assert wechatpay_signing.serial_of(certificate) == RSA_CASES["certificate_serial"]


@pytest.mark.parametrize("case", VECTORS["authorization_message"]["cases"])
def test_a_request_is_authorised_like_the_vectors(case: dict[str, Any]) -> None:
    target, timestamp, nonce = case["canonical_url"], case["timestamp"], case["nonce"]
    message = wechatpay_signing.request_message(
        case["method"], target, timestamp, nonce, case["body"]
    )

    header = wechatpay_signing.authorization(
        method=case["method"],
        target=target,
        body=case["body"],
        merchant_id=case["mchid"],
        serial=case["serial_no"],
        key=wechatpay_key(),
        timestamp=timestamp,
        nonce=nonce,
    )

    assert message.decode() == case["message"]
    assert header == case["authorization"]


def test_an_h5_order_is_signed_like_the_vector() -> None:
    case = VECTORS["derived"]["h5_order_request"]
    message = wechatpay_signing.request_message(
        case["method"], case["canonical_url"], int(case["timestamp"]), case["nonce"], case["body"]
    )

    assert message.decode() == case["message"]
    assert sign(wechatpay_key(), message) == case["signature_b64"]


def test_the_pay_sign_of_a_page_is_like_the_vector() -> None:
    case = VECTORS["derived"]["jsapi_pay_sign"]
    app_id, timestamp, nonce, package, _ = case["message"].split("\n")

    made = wechatpay_signing.jsapi_pay_sign(
        wechatpay_key(), app_id=app_id, timestamp=timestamp, nonce=nonce, package=package
    )

    assert made == case["pay_sign_b64"]


def test_the_sign_of_an_app_is_over_the_bare_prepay_id() -> None:
    made = wechatpay_signing.app_pay_sign(
        OLD, app_id="wx1", timestamp="1414561699", nonce="N", prepay_id="wx2014"
    )

    assert is_signed(OLD.public_key(), b"wx1\n1414561699\nN\nwx2014\n", made)


@pytest.mark.parametrize("case", VECTORS["aes_gcm"], ids=lambda case: case["id"])
def test_a_resource_is_decrypted_like_the_vectors(case: dict[str, Any]) -> None:
    def decrypt() -> bytes:
        return wechatpay_signing.decrypt_resource(
            key=case["key"].encode(),
            nonce=case["nonce"],
            associated_data=case["associated_data"],
            ciphertext=case["ciphertext_b64"],
        )

    if case["valid"]:
        assert decrypt().decode() == case["plaintext"]
    else:
        with pytest.raises(NotVerified):
            decrypt()


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        ("nonce", "wCq51qZv4Yfh"),
        ("nonce", "wCq51qZv4Yf"),
        ("nonce", "wCq51qZv4Yfgg"),
        ("nonce", ""),
        ("nonce", "一二三四"),
        ("associated_data", ""),
        ("associated_data", "transaction"),
        ("ciphertext", ""),
        ("ciphertext", "AAAA"),
        ("ciphertext", "not base64"),
        ("ciphertext", "汉字"),
    ],
)
def test_no_part_of_a_resource_can_be_changed(part: str, wrong: str) -> None:
    case = VECTORS["aes_gcm"][0]
    parts = {
        "nonce": case["nonce"],
        "associated_data": case["associated_data"],
        "ciphertext": case["ciphertext_b64"],
    }

    with pytest.raises(NotVerified) as refused:
        wechatpay_signing.decrypt_resource(key=case["key"].encode(), **parts | {part: wrong})

    assert refused.value.reason is RefusalReason.DECRYPTION


def test_certificate_and_public_key_are_valid_at_the_same_time() -> None:
    headers = signed_headers()
    message = wechatpay_signing.answer_message(
        headers["wechatpay-timestamp"], headers["wechatpay-nonce"], BODY
    )
    by_public_key = {"wechatpay-serial": NEW_SERIAL, "wechatpay-signature": sign(NEW, message)}

    wechatpay_signing.check_signature(headers, BODY, keys=KEYS, now=NOW)
    wechatpay_signing.check_signature(headers | by_public_key, BODY, keys=KEYS, now=NOW)


def test_the_key_is_the_one_that_the_serial_names() -> None:
    assert refusal(signed_headers() | {"wechatpay-serial": NEW_SERIAL}) is RefusalReason.SIGNATURE


@pytest.mark.parametrize("serial", ["", "0123456789ABC", OLD_SERIAL.lower(), f" {OLD_SERIAL}"])
def test_an_unknown_serial_is_refused(serial: str) -> None:
    headers = signed_headers() | {"wechatpay-serial": serial}

    assert refusal(headers) is RefusalReason.UNKNOWN_KEY


def test_the_channels_own_probe_is_refused() -> None:
    probe = base64.b64encode(b"x" * 256).decode()
    headers = signed_headers() | {"wechatpay-signature": f"WECHATPAY/SIGNTEST/{probe}"}

    assert refusal(headers) is RefusalReason.PROBE


@pytest.mark.parametrize("seconds", [-299, -1, 0, 1, 299])
def test_a_message_is_fresh_for_less_than_five_minutes(seconds: int) -> None:
    now = NOW + timedelta(seconds=seconds)

    wechatpay_signing.check_signature(signed_headers(), BODY, keys=KEYS, now=now)


@pytest.mark.parametrize("seconds", [-86_400, -301, -300, 300, 301, 86_400])
def test_a_message_from_another_time_is_stale(seconds: int) -> None:
    now = NOW + timedelta(seconds=seconds)

    assert refusal(signed_headers(), now=now) is RefusalReason.STALE


@pytest.mark.parametrize("body", [b"", b'{"id":"2"}', BODY + b"\n", b" " + BODY])
def test_the_body_is_signed_byte_by_byte(body: bytes) -> None:
    assert refusal(signed_headers(), body) is RefusalReason.SIGNATURE


def test_a_line_of_the_body_cannot_become_the_nonce() -> None:
    headers = signed_headers()
    whole = f"{headers['wechatpay-nonce']}\n{BODY.decode()}"
    message = wechatpay_signing.answer_message(headers["wechatpay-timestamp"], whole, b"")
    headers |= {"wechatpay-nonce": whole, "wechatpay-signature": sign(OLD, message)}

    assert refusal(headers, b"") is RefusalReason.MALFORMED


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("wechatpay-timestamp", ""),
        ("wechatpay-timestamp", "now"),
        ("wechatpay-timestamp", "+1795494600"),
        ("wechatpay-timestamp", "1_795_494_600"),
        ("wechatpay-timestamp", "１７９５４９４６００"),
        ("wechatpay-timestamp", "9" * 13),
        ("wechatpay-nonce", ""),
        ("wechatpay-nonce", "N" * 129),
        ("wechatpay-nonce", "a b"),
        ("wechatpay-signature-type", "WECHATPAY2-SM2-WITH-SM3"),
        ("wechatpay-signature-type", ""),
    ],
)
def test_a_header_that_is_not_what_it_must_be_is_malformed(header: str, value: str) -> None:
    assert refusal(signed_headers() | {header: value}) is RefusalReason.MALFORMED


@pytest.mark.parametrize("name", ["timestamp", "nonce", "serial", "signature"])
def test_no_header_may_be_missing(name: str) -> None:
    headers = signed_headers()
    del headers[f"wechatpay-{name}"]

    assert refusal(headers)


@pytest.mark.parametrize("signature", ["", "AA==", "invalid base64 signature", "汉字"])
def test_a_wrong_signature_is_refused_and_never_an_error(signature: str) -> None:
    headers = signed_headers() | {"wechatpay-signature": signature}

    assert refusal(headers) is RefusalReason.SIGNATURE
