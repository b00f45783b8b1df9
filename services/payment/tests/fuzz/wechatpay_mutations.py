"""Mutations of WeChat Pay's callbacks: signed bytes, signing headers, a sealed resource."""

import base64
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from services.payment.domain.channel_notification import RawNotification
from services.payment.tests.cashier_wire import PUBLIC_KEY_ID, SERIAL, WechatpaySide
from services.payment.tests.fuzz.byte_mutations import mutated as bytes_mutated

Headers = dict[str, str]
HeaderMutation = Callable[[Random, Headers, Headers], Headers]
# Signing anew is slow, so that only a few callbacks get past the signature on purpose.
SIGNED_ANEW = 0.02


def mutated(
    rng: Random,
    original: RawNotification,
    others: Sequence[RawNotification],
    side: WechatpaySide,
) -> RawNotification:
    """The original changed in headers, bytes or JSON, or in its resource and signed anew."""
    other = rng.choice(others)
    choice = rng.random()
    if choice < SIGNED_ANEW:
        body = _with_other_resource(rng, original.body, other.body)
        return RawNotification(side.headers(body), body)
    headers, body = dict(original.headers), original.body
    if choice < 0.4:
        body = bytes_mutated(rng, body)
    elif choice < 0.6:
        body = _json_mutated(rng, body, other.body)
    if choice >= 0.5:
        for _ in range(rng.choice((1, 1, 2))):
            headers = rng.choice(HEADER_MUTATIONS)(rng, headers, dict(other.headers))
    if choice > 0.95:
        headers, body = _moved_line_break(headers, body)
    return RawNotification(headers, body)


def _with_other_resource(rng: Random, body: bytes, other: bytes) -> bytes:
    """The platform signs a resource that was never sealed so."""
    event, donor = json.loads(body), json.loads(other)
    resource = event["resource"]
    part = rng.choice(("ciphertext", "nonce", "associated_data", "algorithm"))
    if part == "ciphertext":
        sealed = bytearray(base64.b64decode(resource[part]))
        sealed[rng.randrange(len(sealed))] ^= 1 << rng.randrange(8)
        resource[part] = base64.b64encode(bytes(sealed)).decode()
    elif part == "nonce":
        resource[part] = rng.choice(("", "wCq51qZv4Yfh", "0" * 12, "wCq51qZv4Y", "汉字汉字"))
    elif part == "associated_data":
        resource[part] = rng.choice(("", "refund", "transaction ", "certificate"))
    else:
        resource[part] = rng.choice(("", "AEAD_AES_128_GCM", "NONE"))
    if rng.random() < 0.1:
        resource["ciphertext"] = donor["resource"]["ciphertext"][::-1]
    return json.dumps(event, ensure_ascii=False).encode()


def _json_mutated(rng: Random, body: bytes, other: bytes) -> bytes:
    event: dict[str, Any] = json.loads(body)
    donor: dict[str, Any] = json.loads(other)
    match rng.randrange(7):
        case 0:
            return json.dumps(event, ensure_ascii=True).encode()
        case 1:
            return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        case 2:
            event["resource"] = donor["resource"]
        case 3:
            event["event_type"] = rng.choice(("REFUND.SUCCESS", "SECURITY_ECHO.SUCCESS", "x"))
        case 4:
            part = rng.choice(("nonce", "associated_data", "ciphertext"))
            event["resource"][part] = donor["resource"][part]
        case 5:
            name = rng.choice(sorted(event))
            twice = json.dumps({name: donor[name]}, ensure_ascii=False).encode()
            return body[:-1] + b"," + twice[1:]
        case 6:
            del event[rng.choice(sorted(event))]
    return json.dumps(event, ensure_ascii=False).encode()


def _moved_line_break(headers: Headers, body: bytes) -> tuple[Headers, bytes]:
    """What is signed stays the same: the body's begin becomes a part of the nonce."""
    lines = body.split(b"\n")
    nonce = headers.get("wechatpay-nonce", "") + "\n" + lines[0].decode(errors="replace")
    return headers | {"wechatpay-nonce": nonce}, b"\n".join(lines[1:])


def _drop(rng: Random, headers: Headers, _other: Headers) -> Headers:
    gone = rng.choice(sorted(headers)) if headers else ""
    return {name: value for name, value in headers.items() if name != gone}


def _take_from_other(rng: Random, headers: Headers, other: Headers) -> Headers:
    name = rng.choice(sorted(other))
    return headers | {name: other[name]}


def _other_serial(rng: Random, headers: Headers, _other: Headers) -> Headers:
    serial = rng.choice((SERIAL, PUBLIC_KEY_ID, SERIAL.lower(), "", "0", "PUB_KEY_ID_"))
    return headers | {"wechatpay-serial": serial}


def _other_time(rng: Random, headers: Headers, _other: Headers) -> Headers:
    told = headers.get("wechatpay-timestamp", "")
    changed = rng.choice(
        (f"+{told}", f"0{told}", f" {told}", f"{told}.0", f"{told}\n", "-1", "", "9" * 20, "now")
    )
    if told.isascii() and told.isdigit() and rng.random() < 0.5:
        changed = str(int(told) + rng.choice((-300, -1, 1, 299, 300)))
    return headers | {"wechatpay-timestamp": changed}


def _other_nonce(rng: Random, headers: Headers, _other: Headers) -> Headers:
    told = headers.get("wechatpay-nonce", "")
    nonce = rng.choice((told.lower(), told + " ", told[:-1], "", f"{told}\n", "N" * 200))
    return headers | {"wechatpay-nonce": nonce}


def _bend_signature(rng: Random, headers: Headers, _other: Headers) -> Headers:
    told = headers.get("wechatpay-signature", "")
    bent = rng.choice(
        (
            f"WECHATPAY/SIGNTEST/{told}",
            told + "=",
            told.rstrip("="),
            " " + told,
            told.swapcase(),
            told[:-8],
            "",
            bytes_mutated(rng, told.encode()).decode(errors="replace"),
        )
    )
    return headers | {"wechatpay-signature": bent}


def _other_type(rng: Random, headers: Headers, _other: Headers) -> Headers:
    kind = rng.choice(("WECHATPAY2-SM2-WITH-SM3", "", "wechatpay2-sha256-rsa2048", "none"))
    return headers | {"wechatpay-signature-type": kind}


HEADER_MUTATIONS: tuple[HeaderMutation, ...] = (
    _drop,
    _take_from_other,
    _other_serial,
    _other_time,
    _other_nonce,
    _bend_signature,
    _other_type,
)
