"""Answers that no honest channel gives: huge, of wrong types, with keys twice, of another order."""

import json

from sandbox.faults.faults import Faults
from sandbox.faults.kinds import ANSWER_KINDS, Call, Kind, Target

# More than any client should be ready to read for an answer of a few hundred bytes.
HUGE_BYTES = 4 * 1024 * 1024
OTHER_ORDER = "f" * 32
NOT_JSON = "<html><body><h1>502 Bad Gateway</h1></body></html>"


def distorted(
    faults: Faults, target: Target, call: Call, body: str, *, order: str | None
) -> str | None:
    """The answer in the place of the true JSON object, None where no fault fires."""
    for kind in ANSWER_KINDS:
        if faults.fire(kind, target, call, order=order):
            return _distort(kind, body, order or "")
    return None


def _distort(kind: Kind, body: str, order: str) -> str:
    if kind == "answer_not_json":
        return NOT_JSON
    if kind == "answer_other_order":
        return body.replace(order, OTHER_ORDER) if order else body
    members = json.loads(body or "{}")
    if kind == "answer_huge":
        return _json({**members, "padding": "x" * HUGE_BYTES})
    if kind == "answer_wrong_type":
        return _json({key: _other_type(value) for key, value in members.items()})
    twice = _json({key: _other_value(value) for key, value in members.items()})
    return f"{twice[:-1]},{body[1:]}" if members else body


def _other_type(value: object) -> object:
    if isinstance(value, str):
        return [value]
    return str(value) if isinstance(value, int) else 7


def _other_value(value: object) -> object:
    """What the first of two equal keys says; readers disagree on which one counts."""
    return value[::-1] if isinstance(value, str) else value


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
