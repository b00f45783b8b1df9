"""What a channel can do, as data."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from shared.kernel.money import Money


class ChannelKind(StrEnum):
    """DIRECT: our server charges, the first attempt starts by itself.

    CASHIER: the payer confirms elsewhere, so attempts are started by the payer.
    """

    DIRECT = "direct"
    CASHIER = "cashier"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelName:
    """How people call the channel."""

    zh: str
    en: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The facts about one channel that the rules need.

    `idempotency_window`: how long after the first send the same attempt id surely cannot
    charge twice; we never send again later than that.
    """

    id: str
    kind: ChannelKind
    name: ChannelName
    idempotency_window: timedelta
    minimum: Money
    maximum: Money
    usable: bool = True

    def takes(self, amount: Money) -> bool:
        return self.usable and self.minimum <= amount <= self.maximum
