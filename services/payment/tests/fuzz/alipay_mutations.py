"""Mutations of Alipay's notifications: forms whose parameters are signed together."""

from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from urllib.parse import parse_qsl, quote, quote_plus, urlencode

from services.payment.domain.channel_notification import RawNotification
from services.payment.tests.fuzz.byte_mutations import mutated as bytes_mutated

Pairs = list[tuple[str, str]]
FormMutation = Callable[[Random, Pairs, Pairs], Pairs]

NAMES = (
    "total_amount",
    "trade_status",
    "out_trade_no",
    "refund_fee",
    "gmt_refund",
    "gmt_payment",
    "out_biz_no",
    "seller_id",
    "app_id",
    "notify_id",
    "trans_currency",
    "sign",
    "sign_type",
    "charset",
    "zzz",
)
VALUES = (
    "",
    "0.01",
    "1509.20",
    "TRADE_SUCCESS",
    "TRADE_CLOSED",
    "RSA",
    "RSA2",
    "GBK",
    "USD",
    "１",
    "a&total_amount=0.01",
    "\x00",
    "=",
)


def mutated(
    rng: Random, original: RawNotification, others: Sequence[RawNotification]
) -> RawNotification:
    """The original changed on the level of bytes or of parameters."""
    if rng.random() < 0.4:
        return RawNotification(original.headers, bytes_mutated(rng, original.body))
    pairs, other = _pairs(original.body), _pairs(rng.choice(others).body)
    for _ in range(rng.choice((1, 1, 2, 3))):
        pairs = rng.choice(FORM_MUTATIONS)(rng, pairs, other)
    return RawNotification(original.headers, rng.choice(ENCODINGS)(pairs).encode())


@cache
def _pairs(body: bytes) -> Pairs:
    """Never changed by whoever gets it: mutations make a list of their own."""
    return parse_qsl(body.decode(), keep_blank_values=True)


def _add(rng: Random, pairs: Pairs, _other: Pairs) -> Pairs:
    at = rng.randrange(len(pairs) + 1)
    return [*pairs[:at], (rng.choice(NAMES), rng.choice(VALUES)), *pairs[at:]]


def _double(rng: Random, pairs: Pairs, _other: Pairs) -> Pairs:
    name, value = rng.choice(pairs)
    return [*pairs, (name, rng.choice((value, *VALUES)))]


def _remove(rng: Random, pairs: Pairs, _other: Pairs) -> Pairs:
    gone = rng.randrange(len(pairs))
    return pairs[:gone] + pairs[gone + 1 :] or pairs


def _shuffle(rng: Random, pairs: Pairs, _other: Pairs) -> Pairs:
    return rng.sample(pairs, len(pairs))


def _change(rng: Random, pairs: Pairs, _other: Pairs) -> Pairs:
    at = rng.randrange(len(pairs))
    return [*pairs[:at], (pairs[at][0], rng.choice(VALUES)), *pairs[at + 1 :]]


def _rename(rng: Random, pairs: Pairs, _other: Pairs) -> Pairs:
    at = rng.randrange(len(pairs))
    name = rng.choice((pairs[at][0].upper(), pairs[at][0] + " ", rng.choice(NAMES)))
    return [*pairs[:at], (name, pairs[at][1]), *pairs[at + 1 :]]


def _take_from_other(rng: Random, pairs: Pairs, other: Pairs) -> Pairs:
    """A parameter, often the signature, of another genuine notification."""
    name, value = rng.choice(other)
    if rng.random() < 0.5:
        name, value = "sign", dict(other)["sign"]
    return [(found, value if found == name else old) for found, old in pairs]


def _swap_values(rng: Random, pairs: Pairs, _other: Pairs) -> Pairs:
    first, second = rng.randrange(len(pairs)), rng.randrange(len(pairs))
    swapped = list(pairs)
    swapped[first] = (pairs[first][0], pairs[second][1])
    swapped[second] = (pairs[second][0], pairs[first][1])
    return swapped


def _hide_in_value(rng: Random, pairs: Pairs, _other: Pairs) -> Pairs:
    """What is signed stays the same: a parameter becomes a part of the one before it."""
    ordered = sorted(pairs)
    at = rng.randrange(len(ordered) - 1) if len(ordered) > 1 else 0
    (name, value), hidden = ordered[at], ordered[at + 1 : at + 2]
    joined = value + "".join(f"&{found}={old}" for found, old in hidden)
    return [*ordered[:at], (name, joined), *ordered[at + 2 :]]


def _hide_in_name(rng: Random, pairs: Pairs, _other: Pairs) -> Pairs:
    ordered = sorted(pairs)
    at = rng.randrange(len(ordered) - 1) if len(ordered) > 1 else 0
    (name, value), hidden = ordered[at], ordered[at + 1 : at + 2]
    if not hidden:
        return ordered
    return [*ordered[:at], (f"{name}={value}&{hidden[0][0]}", hidden[0][1]), *ordered[at + 2 :]]


def _bend_signature(rng: Random, pairs: Pairs, _other: Pairs) -> Pairs:
    bend = rng.choice(
        (
            lambda sign: sign + "=",
            lambda sign: sign.rstrip("="),
            lambda sign: " " + sign,
            lambda sign: sign.replace("+", " "),
            lambda sign: sign.swapcase(),
            lambda sign: "",
            lambda sign: sign[:-8],
            lambda sign: sign + "\n",
        )
    )
    return [(name, bend(value) if name == "sign" else value) for name, value in pairs]


def _every_character(pairs: Pairs) -> str:
    encoded = [
        "=".join("".join(f"%{byte:02x}" for byte in part.encode()) for part in pair)
        for pair in pairs
    ]
    return "&".join(encoded)


def _twice(pairs: Pairs) -> str:
    return urlencode([(name, quote(value)) for name, value in pairs])


FORM_MUTATIONS: tuple[FormMutation, ...] = (
    _add,
    _double,
    _remove,
    _shuffle,
    _change,
    _rename,
    _take_from_other,
    _swap_values,
    _hide_in_value,
    _hide_in_name,
    _bend_signature,
)
ENCODINGS: tuple[Callable[[Pairs], str], ...] = (
    urlencode,
    urlencode,
    lambda pairs: urlencode(pairs, quote_via=quote),
    lambda pairs: urlencode(pairs, safe=":*@{}[]"),
    lambda pairs: ";".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs),
    _every_character,
    _twice,
)
