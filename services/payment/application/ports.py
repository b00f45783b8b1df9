"""What the use cases need from outside: one unit of work, and the channels."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from services.payment.domain.channel import Capabilities
from services.payment.domain.channel_answer import ChannelAnswer
from services.payment.domain.opening import Opening
from services.payment.domain.operator_item import OperatorItem
from services.payment.domain.payment_attempt import Call, PaymentAttempt
from services.payment.domain.payment_order import PaymentOrder
from services.payment.domain.refund import Refund
from shared.kernel.events import Event


@dataclass(frozen=True, slots=True)
class DueAttempt:
    """An attempt under a lease. `call` is None where its time ran out before the first send."""

    attempt: PaymentAttempt
    call: Call | None
    lease: UUID
    payer_id: UUID
    period: str


class Orders(Protocol):
    """Payment orders. What is saved must have been locked in the same unit."""

    async def open(self, openings: Sequence[Opening]) -> set[UUID]:
        """Insert orders and first attempts; returns the ids that were not there before.

        Raises Contradiction where the contribution has another open order.
        """
        ...

    async def lock(self, ids: Sequence[UUID]) -> dict[UUID, PaymentOrder]: ...

    async def lock_expired_unattempted(
        self, *, now: datetime, limit: int
    ) -> list[PaymentOrder]: ...

    async def read(self, ids: Sequence[UUID]) -> dict[UUID, PaymentOrder]: ...

    async def save(self, changes: Sequence[tuple[PaymentOrder, PaymentOrder]]) -> None:
        """Store (before, after) pairs, guarded by the version before."""
        ...


class Attempts(Protocol):
    """Payment attempts. Leases live on database time, due times on the given clock."""

    async def claim(
        self, *, now: datetime, limit: int, lease: UUID, lease_time: timedelta
    ) -> list[DueAttempt]:
        """Take due rows that nobody holds; a send is counted here, before it happens."""
        ...

    async def lock(self, ids: Sequence[UUID]) -> dict[UUID, PaymentAttempt]: ...

    async def lock_undecided(self, *, now: datetime, limit: int) -> list[PaymentAttempt]: ...

    async def save(self, changes: Sequence[tuple[PaymentAttempt, PaymentAttempt]]) -> None:
        """Store (before, after) pairs, guarded by the version before; their leases end."""
        ...


class Refunds(Protocol):
    async def request(self, refunds: Sequence[Refund]) -> None:
        """Insert; a refund that is already there stays as it is."""
        ...


class Unit(Protocol):
    """One local transaction; the boundary commits."""

    @property
    def orders(self) -> Orders: ...
    @property
    def attempts(self) -> Attempts: ...
    @property
    def refunds(self) -> Refunds: ...

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


class Transactions(Protocol):
    """Opens a unit; committed at the end of the block, rolled back on any exception."""

    def __call__(self) -> AbstractAsyncContextManager[Unit]: ...


class Channel(Protocol):
    """One way to move money. Answers a closed set; what it cannot tell is `Unknown`.

    `start` may be called again with the same attempt inside the idempotency window and never
    charges twice. No method raises for what the outside world does.
    """

    @property
    def capabilities(self) -> Capabilities: ...

    async def start(self, due: DueAttempt) -> ChannelAnswer: ...

    async def query(self, due: DueAttempt) -> ChannelAnswer: ...


Channels = Mapping[str, Channel]
