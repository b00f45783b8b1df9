"""A channel's notification: as it arrived, as it was verified, and why it is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.payment.domain.channel_answer import ChannelAnswer


class RefusalReason(StrEnum):
    """Why a notification is not believed: bounded, because it is a metric's label."""

    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    SIGNATURE = "signature"
    UNKNOWN_KEY = "unknown_key"
    STALE = "stale"
    PROBE = "probe"
    DECRYPTION = "decryption"
    OTHER_APP = "other_app"
    OTHER_MERCHANT = "other_merchant"
    OTHER_CURRENCY = "other_currency"
    OTHER_ATTEMPT = "other_attempt"
    UNAVAILABLE = "unavailable"


class NotificationRefused(Exception):
    """The notification changes nothing. Carries nothing a stranger wrote."""

    def __init__(self, reason: RefusalReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class RawNotification:
    """The request as it arrived; header names are in lower case."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class VerifiedNotification:
    """What the channel truly said about one of its order numbers.

    `answer` is None for a truthful message that moves no payment, such as a partial refund or
    a self-test. `attempt_number` has 32 hexadecimal characters where it is one of ours.
    """

    notification_id: str
    attempt_number: str
    answer: ChannelAnswer | None
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class ChannelReply:
    """The exact answer a channel expects to its notification."""

    status: int
    media_type: str | None
    body: bytes
