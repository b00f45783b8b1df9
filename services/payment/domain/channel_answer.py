"""What a channel can answer: a closed set, in which "unknown" and "not there" are answers too."""

from datetime import datetime
from enum import StrEnum

import msgspec

from services.payment.domain.failure_reason import FailureReason
from shared.kernel.money import Money


class UnknownCause(StrEnum):
    """Why a call told nothing about the money."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    SERVER_ERROR = "server_error"
    NONSENSE = "nonsense"
    LEASE_OVER = "lease_over"


class Succeeded(msgspec.Struct, frozen=True):
    """The channel received the money, finally."""

    trade_no: str
    amount: Money
    at: datetime


class Declined(msgspec.Struct, frozen=True):
    """The channel refused, finally: no money moved and none will."""

    reason: FailureReason


class AwaitingPayer(msgspec.Struct, frozen=True):
    """The channel knows the attempt; no money has moved yet."""


class Unknown(msgspec.Struct, frozen=True):
    """Nothing can be concluded. Never means failed."""

    cause: UnknownCause


class NotThere(msgspec.Struct, frozen=True):
    """The channel does not know this attempt, now: a send may still be on its way."""


class Closed(msgspec.Struct, frozen=True):
    """The channel confirms: closed there, and no money will come."""


ChannelAnswer = Succeeded | Declined | AwaitingPayer | Unknown | NotThere | Closed


class NeverSent(msgspec.Struct, frozen=True):
    """No channel was asked: the attempt's time ran out before its first send."""


Answer = ChannelAnswer | NeverSent
