"""What the use cases need from outside: one unit of work, and the channels."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable
from uuid import UUID

import msgspec

from services.payment.domain.channel import Capabilities
from services.payment.domain.channel_answer import ChannelAnswer
from services.payment.domain.channel_notification import (
    ChannelReply,
    RawNotification,
    RefusalReason,
    VerifiedNotification,
)
from services.payment.domain.channel_offer import ChannelList
from services.payment.domain.next_action import StartAnswer
from services.payment.domain.opening import Opening
from services.payment.domain.operator_item import OperatorItem
from services.payment.domain.payment_attempt import Call, PaymentAttempt
from services.payment.domain.payment_order import PaymentOrder
from services.payment.domain.refund import Refund
from services.payment.domain.switch import Stopped
from shared.kernel.events import Event
from shared.kernel.leased_calls import Reservation


class DueAttempt(msgspec.Struct, frozen=True):
    """An attempt under a lease. `call` is None where its time ran out before the first send."""

    attempt: PaymentAttempt
    call: Call | None
    lease: UUID
    payer_id: UUID
    period: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardNotification:
    """A verified notification about one of our attempts, with what proves it later."""

    channel: str
    notification: VerifiedNotification
    attempt_id: UUID
    body_sha256: bytes
    received_at: datetime


class FirstCalls(Protocol):
    """Calls channels about attempts as soon as the transaction that opened them has committed."""

    def reserve(self, count: int) -> Reservation[DueAttempt] | None:
        """For as many of `count` as can begin at once; None where none can."""
        ...


class Orders(Protocol):
    """Payment orders. What is saved must have been locked in the same unit."""

    async def open(
        self, openings: Sequence[Opening], *, lease_time: timedelta = timedelta(0)
    ) -> set[UUID]:
        """Insert orders and first attempts; returns the ids that were not there before.

        An attempt that names a lease owner is held for `lease_time` from now on. Raises
        Contradiction where the contribution has another open order.
        """
        ...

    async def lock(self, ids: Sequence[UUID]) -> dict[UUID, PaymentOrder]: ...

    async def lock_expired(self, *, now: datetime, limit: int) -> list[PaymentOrder]:
        """Open orders whose time is over and of which no attempt is open."""
        ...

    async def read(self, ids: Sequence[UUID]) -> dict[UUID, PaymentOrder]: ...

    async def save(self, changes: Sequence[tuple[PaymentOrder, PaymentOrder]]) -> None:
        """Store (before, after) pairs, guarded by the version before; raises LostGuard."""
        ...


class Attempts(Protocol):
    """Payment attempts. Leases live on database time, due times on the given clock."""

    async def claim(
        self, *, now: datetime, limit: int, lease: UUID, lease_time: timedelta
    ) -> list[DueAttempt]:
        """Take due rows that nobody holds; a send is counted here, before it happens."""
        ...

    async def claim_ended(
        self, *, now: datetime, limit: int, lease: UUID, lease_time: timedelta
    ) -> list[DueAttempt]:
        """The same for attempts that were declined or closed: only to ask whether money came."""
        ...

    async def lock(self, ids: Sequence[UUID]) -> dict[UUID, PaymentAttempt]: ...

    async def lock_undecided(self, *, now: datetime, limit: int) -> list[PaymentAttempt]: ...

    async def save(self, changes: Sequence[tuple[PaymentAttempt, PaymentAttempt]]) -> None:
        """Store (before, after) pairs, guarded by the version before; raises LostGuard.

        Their leases end.
        """
        ...


class CashierAttempts(Protocol):
    """Attempts as their payers move them. What is changed lies under a lock on its order."""

    async def insert(self, attempt: PaymentAttempt) -> None: ...

    async def lock_open(self, order_id: UUID) -> list[PaymentAttempt]:
        """The order's attempts without a final answer, oldest first."""
        ...

    async def find(self, ids: Sequence[UUID]) -> dict[UUID, PaymentAttempt]:
        """Without a lock: for what never changes."""
        ...

    async def take(
        self, attempt_id: UUID, *, sends: bool, now: datetime, lease: UUID, lease_time: timedelta
    ) -> DueAttempt | None:
        """A lease on an open attempt, with its send counted; None where somebody holds it."""
        ...

    async def want_closed(self, order_ids: Sequence[UUID], *, now: datetime) -> None:
        """All open attempts of these orders shall be closed at their channels, from now on."""
        ...

    async def want_again(self, attempt_id: UUID, *, now: datetime) -> None:
        """Its payer came back: the wish to close this open attempt is taken back."""
        ...

    async def ask_now(self, order_id: UUID, *, now: datetime, pause: timedelta) -> bool:
        """Make the attempts due for a query that are open, or may be paid late;

        False where that was asked within `pause`.
        """
        ...


class Switches(Protocol):
    async def stopped(self) -> Stopped: ...


class ChannelLists(Protocol):
    """The list of channels as it was last announced."""

    async def find(self, list_id: UUID) -> ChannelList | None: ...

    async def save(self, before: ChannelList | None, after: ChannelList) -> bool:
        """False where somebody else saved one since `before` was found."""
        ...


class Notifications(Protocol):
    async def claim(self, heard: Sequence[HeardNotification]) -> set[tuple[str, str]]:
        """Store what is new; returns (channel, notification id) of those."""
        ...


class ReturnTokens(Protocol):
    async def issue(self, token: str, *, order_id: UUID, expires_at: datetime) -> None: ...


class Refunds(Protocol):
    async def request(self, refunds: Sequence[Refund]) -> None:
        """Insert; a refund that is already there stays as it is."""
        ...


class StatementUnit(Protocol):
    """One statement, which commits by itself: there is no end to emit or call anything at."""

    @property
    def attempts(self) -> Attempts: ...


class Unit(StatementUnit, Protocol):
    """One local transaction; the boundary commits."""

    @property
    def orders(self) -> Orders: ...
    @property
    def refunds(self) -> Refunds: ...
    @property
    def cashier_attempts(self) -> CashierAttempts: ...
    @property
    def switches(self) -> Switches: ...
    @property
    def channel_lists(self) -> ChannelLists: ...
    @property
    def notifications(self) -> Notifications: ...
    @property
    def return_tokens(self) -> ReturnTokens: ...

    def emit(
        self,
        body: Event,
        *,
        subject: UUID,
        sequence: int,
        correlation_id: UUID,
        causation_id: UUID | None = None,
    ) -> UUID: ...

    async def repeat(self, event_ids: Sequence[UUID]) -> set[UUID]:
        """Tell again with original ids; returns those that retention has removed."""
        ...

    async def open_items(self, items: Sequence[OperatorItem]) -> None: ...

    def at_end(self, call: Callable[[bool], None]) -> None:
        """Call this after the end, with whether it is known to be committed."""
        ...


class Transactions(Protocol):
    """Opens a unit; committed at the end of the block, rolled back on any exception."""

    def __call__(self) -> AbstractAsyncContextManager[Unit]: ...


class Statements(Protocol):
    """Opens a unit for one statement: one trip to the database instead of three."""

    def __call__(self) -> AbstractAsyncContextManager[StatementUnit]: ...


class Channel(Protocol):
    """One way to move money. Answers a closed set; what it cannot tell is `Unknown`.

    No method that calls out raises for what the outside world does.
    """

    @property
    def capabilities(self) -> Capabilities: ...

    async def query(self, due: DueAttempt) -> ChannelAnswer: ...


class DirectChannel(Channel, Protocol):
    """Our server charges.

    `start` may be called again with the same attempt inside the idempotency window and never
    charges twice.
    """

    async def start(self, due: DueAttempt) -> ChannelAnswer: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PayerDetails:
    """What only the channel may know of the payer: never in an event, a log or a table.

    `method` is one of the channel's ways to open its cashier ("wap", "h5", …); `return_url` is
    where the cashier sends the payer back to, made from our settings only.
    """

    method: str
    client_address: str | None = None
    openid: str | None = None
    return_url: str | None = None


@runtime_checkable
class CashierChannel(Channel, Protocol):
    """The payer confirms in the channel's own cashier; the truth comes by query or notification.

    `start` with the same attempt again gives the same order at the channel a fresh action.
    `close` answers Closed, Succeeded (it was paid first), NotThere or Unknown. `verify` checks
    all that the channel alone can know (signature, freshness, addressee, currency, shape) and
    raises NotificationRefused; amount and attempt are checked where the attempt is loaded.
    """

    async def start(self, due: DueAttempt, payer: PayerDetails) -> StartAnswer: ...

    async def close(self, due: DueAttempt) -> ChannelAnswer: ...

    def verify(self, notification: RawNotification) -> VerifiedNotification: ...

    @property
    def acknowledgement(self) -> ChannelReply:
        """Tells the channel not to send this notification again."""
        ...

    def refusal(self, reason: RefusalReason) -> ChannelReply:
        """Tells the channel that the notification did not count; it may send it again."""
        ...


AnyChannel = DirectChannel | CashierChannel
Channels = Mapping[str, AnyChannel]
