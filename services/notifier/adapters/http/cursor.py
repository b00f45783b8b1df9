"""The place in an inbox as an opaque word: microseconds since 1970 and the entry's id."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.notifier.application.ports import Place
from services.notifier.domain.refusal import refused

CURSOR_CHARACTERS_MAX = 64
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIME_BYTES = 8


def write_cursor(place: Place) -> str:
    microseconds = (place.occurred_at - EPOCH) // timedelta(microseconds=1)
    raw = microseconds.to_bytes(TIME_BYTES, "big") + place.id.bytes
    return base64.urlsafe_b64encode(raw).decode()


def read_cursor(cursor: str) -> Place:
    """Raises Refused `cursor_unknown` for anything that `write_cursor` did not make."""
    try:
        raw = base64.b64decode(cursor, altchars=b"-_", validate=True)
        microseconds = int.from_bytes(raw[:TIME_BYTES], "big")
        place = Place(EPOCH + timedelta(microseconds=microseconds), UUID(bytes=raw[TIME_BYTES:]))
    except (binascii.Error, ValueError, OverflowError):
        raise refused("cursor_unknown") from None
    return place
