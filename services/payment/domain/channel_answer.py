"""What a channel can answer: a closed set, in which "unknown" and "not there" are answers too."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.payment.domain.failure_reason import FailureReason
from shared.kernel.money import Money


class UnknownCause(StrEnum):
    """Why a call told nothing about the money."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    SERVER_ERROR = "server_error"
    NONSENSE = "nonsense"
    LEASE_OVER = "lease_over"


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The channel received the money, finally."""

    trade_no: str
    amount: Money
    at: datetime


@dataclass(frozen=True, slots=True)
class Declined:
    """The channel refused, finally: no money moved and none will."""

    reason: FailureReason


@dataclass(frozen=True, slots=True)
class AwaitingPayer:
    """The channel knows the attempt; no money has moved yet."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing can be concluded. Never means failed."""

    cause: UnknownCause


@dataclass(frozen=True, slots=True)
class NotThere:
    """The channel does not know this attempt, now: a send may still be on its way."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The channel confirms: closed there, and no money will come."""


ChannelAnswer = Succeeded | Declined | AwaitingPayer | Unknown | NotThere | Closed


@dataclass(frozen=True, slots=True)
class NeverSent:
    """No channel was asked: the attempt's time ran out before its first send."""


Answer = ChannelAnswer | NeverSent
