"""Mutations of bytes that know nothing of what the bytes mean."""

from random import Random

# Bytes that parsers treat specially, more often than chance would bring them.
SPECIAL = b"&=%+;\x00\r\n\t \"'\\{}[]:,0123456789\xff\xc0\x80"


def mutated(rng: Random, body: bytes) -> bytes:
    """One to four changes; the result may happen to be the original."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        body = rng.choice(MUTATIONS)(rng, body)
    return body


def _flip_bit(rng: Random, body: bytes) -> bytes:
    if not body:
        return body
    at = rng.randrange(len(body))
    return body[:at] + bytes([body[at] ^ 1 << rng.randrange(8)]) + body[at + 1 :]


def _replace_byte(rng: Random, body: bytes) -> bytes:
    at = rng.randrange(len(body) + 1)
    return body[:at] + bytes([rng.choice(SPECIAL)]) + body[at + 1 :]


def _insert_byte(rng: Random, body: bytes) -> bytes:
    at = rng.randrange(len(body) + 1)
    return body[:at] + bytes([rng.choice(SPECIAL)]) + body[at:]


def _delete_bytes(rng: Random, body: bytes) -> bytes:
    at = rng.randrange(len(body) + 1)
    return body[:at] + body[at + rng.choice((1, 1, 2, 8, 64)) :]


def _truncate(rng: Random, body: bytes) -> bytes:
    return body[: rng.randrange(len(body) + 1)]


def _repeat(rng: Random, body: bytes) -> bytes:
    at = rng.randrange(len(body) + 1)
    return body[: at + rng.choice((1, 8, 64))] + body[at:]


def _transpose(rng: Random, body: bytes) -> bytes:
    first, second, third = sorted(rng.randrange(len(body) + 1) for _ in range(3))
    return body[:first] + body[second:third] + body[first:second] + body[third:]


def _append(rng: Random, body: bytes) -> bytes:
    return body + rng.choice((b"\n", b" ", b"\x00", b"&", b"&a=1", b"{}", body))


MUTATIONS = (
    _flip_bit,
    _replace_byte,
    _insert_byte,
    _delete_bytes,
    _truncate,
    _repeat,
    _transpose,
    _append,
)
