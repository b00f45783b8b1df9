"""JSON from strangers: UTF-8, no duplicate name at any depth, no numbers JSON does not have.

Two parsers may disagree about a duplicate name; what nobody can misread is what we accept.
"""

import json
from typing import Any, NoReturn


class NotStrictJson(ValueError):
    """The bytes are not JSON that can be read in one way only."""


def parse(content: bytes) -> Any:
    """Raises NotStrictJson; says what is wrong, never what was in it."""
    try:
        return _DECODER.decode(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, NotStrictJson) else "it is not JSON"
        raise NotStrictJson(reason) from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotStrictJson("a name occurs twice")
    return found


def _no_constant(_name: str) -> NoReturn:
    raise NotStrictJson("NaN and Infinity are not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
