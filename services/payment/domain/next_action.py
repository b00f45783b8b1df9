"""What the payer must do next at the channel: a closed set, handed to the page as it is."""

from dataclasses import dataclass
from datetime import datetime

from services.payment.domain.channel_answer import ChannelAnswer


@dataclass(frozen=True, slots=True)
class Redirect:
    """Open this address."""

    url: str


@dataclass(frozen=True, slots=True)
class Form:
    """Post these fields to this address, from a page of ours."""

    url: str
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class QrCode:
    """Show this as a QR code, to be scanned with the channel's app."""

    content: str


@dataclass(frozen=True, slots=True)
class SdkString:
    """Hand this signed string to the channel's library in the app."""

    content: str


@dataclass(frozen=True, slots=True)
class SdkFields:
    """Hand these signed parameters to the channel's bridge in the page or its library."""

    fields: tuple[tuple[str, str], ...]


NextAction = Redirect | Form | QrCode | SdkString | SdkFields


@dataclass(frozen=True, slots=True)
class Started:
    """The cashier is ready and waits for the payer; the action is of use until `expires_at`."""

    next_action: NextAction
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OrderedOtherwise:
    """The channel keeps this number for a first request unlike this one, and it is not paid.

    Another payer, or another text or address of ours: what begins now needs a number of its own.
    """


# What comes of a start at a cashier.
StartAnswer = ChannelAnswer | Started | OrderedOtherwise
