"""What a channel can do, as data."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from services.payment.domain.debit_window import DebitWindow
from shared.kernel.money import Money
from shared.kernel.wording import Wording


class ChannelKind(StrEnum):
    """DIRECT: our server charges, the first attempt starts by itself.

    CASHIER: the payer confirms elsewhere, so attempts are started by the payer.
    """

    DIRECT = "direct"
    CASHIER = "cashier"


class OpensIn(StrEnum):
    """Where the payer must be for a way of starting to work."""

    PHONE_BROWSER = "phone_browser"
    CHANNEL_APP = "channel_app"
    OUR_APP = "our_app"
    OTHER_DEVICE = "other_device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to open a cashier; `needs_openid` where the channel must know its payer first."""

    id: str
    opens_in: OpensIn
    needs_openid: bool = False


# The shortest that both Alipay and WeChat Pay accept as an order's time.
SHORTEST_EXPIRY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The facts about one channel that the rules need.

    `idempotency_window`: how long after the first send the same attempt id surely cannot
    charge twice; we never send again later than that. `shortest_expiry`: an attempt with less
    time than this is not started. `refund_window`: how long after a payment money can go back
    through the channel; None where it cannot. `debit_window`: when an account may be debited;
    None where that may be at any time. `has_bill`: whether the channel tells, a day later, what it
    received. `regions`: whose contributions it takes; None where it takes all. `needs_mandate`:
    it debits only who agreed to it.
    """

    id: str
    kind: ChannelKind
    name: Wording
    idempotency_window: timedelta
    minimum: Money
    maximum: Money
    usable: bool = True
    methods: tuple[Method, ...] = ()
    shortest_expiry: timedelta = SHORTEST_EXPIRY
    refund_window: timedelta | None = None
    debit_window: DebitWindow | None = None
    has_bill: bool = False
    regions: frozenset[str] | None = None
    needs_mandate: bool = False

    def takes(self, amount: Money) -> bool:
        return self.usable and self.minimum <= amount <= self.maximum

    def serves(self, region: str) -> bool:
        """Whether it takes the contributions of this region; a province stands for its cities."""
        return self.regions is None or not self.regions.isdisjoint((region, region[:2] + "0000"))

    def method(self, method_id: str) -> Method | None:
        return next((method for method in self.methods if method.id == method_id), None)
