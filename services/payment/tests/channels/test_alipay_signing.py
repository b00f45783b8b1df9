"""Alipay's signatures against published test data, and against everything that only looks right.

Vectors: vectors/alipay_rsa2.json, from alipay-sdk-nodejs-all@e167639 and alipay-easysdk@0b0f31d.
"""

import base64
import json
import re
from typing import Any
from urllib.parse import unquote_plus, urlencode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import example, given
from hypothesis import strategies as st

from services.payment.adapters.alipay import signing as alipay_signing
from services.payment.adapters.alipay.certificates import certificate_serial, root_serial
from services.payment.adapters.channels.rsa_signatures import (
    NotVerified,
    is_signed,
    parse_public_key,
    sign,
)
from services.payment.domain.channel_notification import RefusalReason
from services.payment.tests.channel_keys import a_certificate, an_rsa_key, vectors, wechatpay_key
from shared.runtime.keys.key_files import KeyFileError

VECTORS = vectors("alipay_rsa2.json")
PUBLISHED = VECTORS["notify_published"][0]
METHOD = "alipay.trade.query"
ROOT = "alipay_trade_query_response"
OURS = an_rsa_key("alipay")


def public_key(pem: str) -> rsa.RSAPublicKey:
    return parse_public_key(pem.encode(), name="vector")


def published_key() -> rsa.RSAPublicKey:
    der = PUBLISHED["public_key_b64_der"]
    return public_key(f"-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----")


def an_answer(content: str, *, root: str = ROOT, key: rsa.RSAPrivateKey = OURS) -> bytes:
    return f'{{"{root}":{content},"sign":"{sign(key, content.encode())}"}}'.encode()


def verified(body: bytes, key: rsa.RSAPrivateKey = OURS) -> bytes:
    return alipay_signing.verified_response(body, method=METHOD, keys=[key.public_key()])


def refusal(body: bytes) -> RefusalReason:
    with pytest.raises(NotVerified) as refused:
        verified(body)
    return refused.value.reason


def test_a_request_is_signed_like_the_vector() -> None:
    case = VECTORS["derived"]["wap_pay_request"]

    signed = alipay_signing.signed(case["params"] | {"app_auth_token": ""}, wechatpay_key())

    assert alipay_signing.string_to_sign(case["params"]) == case["string_to_sign"]
    assert signed == case["params"] | {"sign": case["sign_b64"]}


@pytest.mark.parametrize("case", VECTORS["notify_published"], ids=lambda case: case["id"])
def test_a_published_notification_is_verified(case: dict[str, Any]) -> None:
    body = urlencode(case["params"]).encode()

    parameters = alipay_signing.read_form(body)

    assert alipay_signing.string_to_verify(parameters) == case["string_to_verify"]
    alipay_signing.check_notification(parameters, [OURS.public_key(), published_key()])


@pytest.mark.parametrize("case", VECTORS["string_to_sign_published"])
def test_the_string_of_a_published_notification_is_built_alike(case: dict[str, Any]) -> None:
    assert alipay_signing.string_to_verify(case["params"]) == case["string_to_verify"]


@pytest.mark.parametrize("name", sorted(PUBLISHED["params"].keys() - {"sign", "sign_type"}))
def test_no_parameter_of_a_notification_can_change_vanish_or_be_doubled(name: str) -> None:
    params: dict[str, str] = PUBLISHED["params"]
    changed = params | {name: params[name] + "1"}
    absent = {key: value for key, value in params.items() if key != name}

    for wrong in (changed, absent, params | {"added": "1"}):
        with pytest.raises(NotVerified):
            alipay_signing.check_notification(wrong, [published_key()])
    with pytest.raises(NotVerified):
        alipay_signing.read_form(urlencode([*params.items(), (name, params[name])]).encode())


def test_no_parameter_can_hide_in_another() -> None:
    params: dict[str, str] = dict(PUBLISHED["params"])
    hiding = dict(params)
    hiding["total_amount"] += "&trade_no=" + hiding.pop("trade_no")
    swallowing = dict(params)
    swallowing[f"total_amount={params['total_amount']}&trade_no"] = swallowing.pop("trade_no")
    del swallowing["total_amount"]

    for ambiguous in (hiding, swallowing):
        same = alipay_signing.string_to_verify(ambiguous)
        assert same == PUBLISHED["string_to_verify"]
        with pytest.raises(NotVerified):
            alipay_signing.check_notification(ambiguous, [published_key()])


def test_a_message_that_signs_its_sign_type_is_verified_too() -> None:
    params = {"app_id": "1", "notify_type": "servicemarket_order_notify", "sign_type": "RSA2"}
    signature = sign(OURS, alipay_signing.string_to_sign(params).encode())

    alipay_signing.check_notification(params | {"sign": signature}, [OURS.public_key()])


@pytest.mark.parametrize("sign_type", ["RSA", "", "none", "rsa2"])
def test_another_kind_of_signature_is_refused(sign_type: str) -> None:
    with pytest.raises(NotVerified):
        alipay_signing.check_notification(
            PUBLISHED["params"] | {"sign_type": sign_type}, [published_key()]
        )


@pytest.mark.parametrize("signature", ["", "AA==", "not base64", "%%%", "QfTb8tqE1BMh\n"])
def test_a_wrong_signature_is_refused_and_never_an_error(signature: str) -> None:
    with pytest.raises(NotVerified):
        alipay_signing.check_notification(
            PUBLISHED["params"] | {"sign": signature}, [published_key()]
        )


@pytest.mark.parametrize(
    "body", [b"a", b"a=1&a=2", b"a=%ff", b"\xff=1", b"&".join([b"a=1"] * 101), b"{}"]
)
def test_what_is_not_a_form_is_refused(body: bytes) -> None:
    with pytest.raises(NotVerified):
        alipay_signing.read_form(body)


BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


TEXTS = st.text(st.characters(codec="utf-8"))


@given(st.dictionaries(TEXTS, TEXTS, min_size=1))
def test_whatever_a_form_can_hold_is_read_as_it_was_written(parameters: dict[str, str]) -> None:
    read = alipay_signing.read_form(urlencode(parameters).encode())

    assert read == parameters


@given(st.text(alphabet="%+\\\n =xuUN0189aAfFéE", max_size=40))
@example("\\%41")
@example("%5C%5Cx41")
@example("%e5%9f%ba+%2B")
def test_escapes_mean_what_they_mean_everywhere_and_broken_ones_are_refused(value: str) -> None:
    body = f"name={value}".encode()
    try:
        meant = unquote_plus(value, errors="strict")
    except UnicodeDecodeError:
        meant = None

    if meant is None or BROKEN_ESCAPE.search(value) or not body.isascii():
        with pytest.raises(NotVerified):
            alipay_signing.read_form(body)
    else:
        assert alipay_signing.read_form(body) == {"name": meant}


@pytest.mark.parametrize("case", VECTORS["response_published"], ids=lambda case: case["id"])
def test_a_published_response_is_verified(case: dict[str, Any]) -> None:
    content = alipay_signing.verified_response(
        case["raw"].encode(),
        method="alipay.open.file.upload",
        keys=[public_key(case["public_key_pem"])],
    )

    assert json.loads(content)["code"] == "10000"


@pytest.mark.parametrize("case", VECTORS["response_raw_substring"]["cases"])
def test_the_raw_text_of_a_response_is_taken_as_received(case: dict[str, Any]) -> None:
    content, _ = alipay_signing.signed_content(case["raw"].encode(), case["root_key"])

    assert content.decode() == case["string_to_verify"]


def test_a_query_response_is_verified_like_the_vector() -> None:
    case = VECTORS["derived"]["trade_query_response"]

    content = alipay_signing.verified_response(
        case["raw"].encode(),
        method=METHOD,
        keys=[public_key(VECTORS["derived"]["public_key_pem"])],
    )

    assert content.decode() == case["string_to_verify"]


def test_white_space_and_escapes_are_part_of_what_is_signed() -> None:
    content = '{ "code" : "10000",\n "u":"\\u652f\\/" , "sign":"x", "n": {"error_response":{}} }'
    body = an_answer(content)

    spaced = f' \n{{ "sign" : "{sign(OURS, content.encode())}" , "{ROOT}" : {content} }}\n'

    assert verified(body) == content.encode()
    assert verified(spaced.encode()) == content.encode()
    assert refusal(body.replace(b"\\u652f", "支".encode())) is RefusalReason.SIGNATURE
    assert refusal(body.replace(b'"code" : ', b'"code":')) is RefusalReason.SIGNATURE


def test_a_signed_error_is_verified() -> None:
    content = '{"code":"40002","sub_code":"isv.invalid-signature"}'

    assert verified(an_answer(content, root="error_response")) == content.encode()


PAID = '{"code":"10000","trade_status":"TRADE_SUCCESS"}'
WAITS = '{"code":"10000","trade_status":"WAIT_BUYER_PAY"}'


@pytest.mark.parametrize(
    "body",
    [
        an_answer(WAITS)[:-1] + f',"{ROOT}":{PAID}}}'.encode(),
        f'{{"{ROOT}":{PAID},'.encode() + an_answer(WAITS)[1:],
        an_answer(WAITS)[:-1] + f',"\\u0061{ROOT[1:]}":{PAID}}}'.encode(),
        an_answer(WAITS)[:-1] + f',"error_response":{PAID}}}'.encode(),
        an_answer('{"code":"1","code":"10000"}'),
        an_answer(WAITS)[:-1] + b',"sign":"AA=="}',
        an_answer(WAITS, root="alipay_trade_close_response"),
        an_answer(WAITS) + an_answer(WAITS),
        b'{"x":"' + an_answer(PAID).replace(b'"', b'\\"') + b'"}',
        b'{"x":' + an_answer(PAID) + b"}",
        b"",
        b"null",
        b"[]",
        b"<html>",
        b"\xff\xfe",
        b"[" * 100_000,
        an_answer(WAITS)[:-1],
        an_answer("NaN"),
        an_answer('{"code":"\\ud800"}'),
        b"\xef\xbb\xbf" + an_answer(WAITS),
        an_answer(WAITS).replace(b'"sign":"', b'"sign":["'),
    ],
)
def test_an_ambiguous_or_broken_response_is_malformed(body: bytes) -> None:
    assert refusal(body) is RefusalReason.MALFORMED


@pytest.mark.parametrize(
    "body",
    [
        an_answer(WAITS).replace(b"WAIT_BUYER_PAY", b"TRADE_SUCCESS"),
        an_answer(WAITS, key=an_rsa_key("stranger")),
        f'{{"{ROOT}":{PAID}}}'.encode(),
        f'{{"{ROOT}":{PAID},"sign":""}}'.encode(),
        f'{{"{ROOT}":{PAID},"sign":"****"}}'.encode(),
    ],
)
def test_a_response_that_is_not_signed_so_is_refused(body: bytes) -> None:
    assert refusal(body) is RefusalReason.SIGNATURE


def test_old_and_new_key_are_valid_at_the_same_time() -> None:
    new = an_rsa_key("new")
    keys = [OURS.public_key(), new.public_key()]

    for key in (OURS, new):
        body = an_answer(PAID, key=key)
        assert alipay_signing.verified_response(body, method=METHOD, keys=keys) == PAID.encode()


@pytest.mark.parametrize("case", VECTORS["cert_sn"]["cases"], ids=lambda case: case["file"])
def test_the_serial_of_a_published_certificate_is_computed(case: dict[str, Any]) -> None:
    assert certificate_serial(x509.load_pem_x509_certificate(case["pem"].encode())) == case["sn"]


def test_the_serial_of_the_roots_counts_rsa_certificates_only() -> None:
    first, second = (case["pem"] for case in VECTORS["cert_sn"]["cases"])
    elliptic = a_certificate(ec.generate_private_key(ec.SECP256R1())).decode()
    unreadable = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    bundle = "comment\n" + first + elliptic + unreadable + second

    serials = [case["sn"] for case in VECTORS["cert_sn"]["cases"]]
    assert root_serial(bundle.encode(), name="root") == "_".join(serials)
    with pytest.raises(KeyFileError):
        root_serial((elliptic + unreadable).encode(), name="root")


def test_a_key_that_is_too_short_or_of_another_kind_is_refused() -> None:
    for pem in (
        a_certificate(ec.generate_private_key(ec.SECP256R1())),
        a_certificate(an_rsa_key("short", bits=1024)),
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        b"",
    ):
        with pytest.raises(KeyFileError):
            parse_public_key(pem, name="platform/1.pem")


def test_a_signature_is_over_bytes() -> None:
    signature = sign(OURS, b"source")

    assert is_signed(OURS.public_key(), b"source", signature)
    assert not is_signed(OURS.public_key(), b"source ", signature)
    assert not is_signed(OURS.public_key(), b"source", base64.b64encode(b"x" * 256).decode())
