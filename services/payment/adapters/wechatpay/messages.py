"""WeChat Pay's messages as they are on the wire (APIv3), and what they say of the money."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec

from services.payment.domain.channel_answer import AwaitingPayer, ChannelAnswer, Closed, Succeeded
from shared.kernel.money import CURRENCY, Money

Identifier = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,128}\Z")]
Short = Annotated[str, msgspec.Meta(max_length=128)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class Meaningless(ValueError):
    """The message is well-formed and signed, and still not one that we may act upon."""


class Amount(msgspec.Struct, frozen=True):
    """`total` is the order's amount in fen, coupons included."""

    total: Annotated[int, msgspec.Meta(ge=1, le=10_000_000_000)] | None = None
    currency: str = CURRENCY


class Transaction(msgspec.Struct, frozen=True):
    """An order there, in an answer to a query and in a callback's resource."""

    appid: Short
    mchid: Short
    out_trade_no: Short
    trade_state: Short
    transaction_id: Identifier | None = None
    success_time: Instant | None = None
    amount: Amount = Amount()


class RefundTold(msgspec.Struct, frozen=True):
    """Of a refund's callback: whose payment it is about."""

    mchid: Short
    out_trade_no: Short


class Resource(msgspec.Struct, frozen=True):
    algorithm: str
    ciphertext: str
    nonce: str
    associated_data: str = ""


class Event(msgspec.Struct, frozen=True):
    """A callback's body."""

    id: Identifier
    create_time: Instant
    event_type: Short
    resource: Resource | None = None


class Created(msgspec.Struct, frozen=True):
    """What each way of ordering answers with: one of the three."""

    h5_url: Annotated[str, msgspec.Meta(pattern=r"^https?://[!-~]{1,1000}\Z")] | None = None
    code_url: Annotated[str, msgspec.Meta(pattern=r"^[a-z]+://[!-~]{1,500}\Z")] | None = None
    prepay_id: Identifier | None = None


class Problem(msgspec.Struct, frozen=True):
    code: Short


def told_by_transaction(transaction: Transaction) -> ChannelAnswer:
    """Raises Meaningless where this says nothing certain."""
    if transaction.amount.currency != CURRENCY:
        raise Meaningless("another currency")
    match transaction.trade_state:
        # REFUND: what was paid went back, in part or whole; that is another story.
        case "SUCCESS" | "REFUND":
            return _succeeded(transaction)
        # After PAYERROR the payer may try again until the order expires.
        case "NOTPAY" | "USERPAYING" | "ACCEPT" | "PAYERROR":
            return AwaitingPayer()
        case "CLOSED" | "REVOKED":
            return Closed()
    raise Meaningless("an unknown trade state")


def _succeeded(transaction: Transaction) -> Succeeded:
    number, total, at = (
        transaction.transaction_id,
        transaction.amount.total,
        transaction.success_time,
    )
    if number is None or total is None or at is None:
        raise Meaningless("paid, without trade number, amount or time")
    return Succeeded(number, Money(total), at.astimezone(UTC))
