"""What the use cases need from outside: rows under lock, the outbox, the operators."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.billing.domain.channel_choice import KnownChannels
from services.billing.domain.contribution import Contribution
from services.billing.domain.money_decision import MoneyDecision, Refund
from services.billing.domain.payment_request import PaymentRequest
from shared.kernel.events import Event
from shared.kernel.money import Money


@dataclass(frozen=True, slots=True)
class ContributionView:
    """A contribution as it is shown; `expires_at` is that of its latest order."""

    contribution: Contribution
    expires_at: datetime | None


class Contributions(Protocol):
    """Contributions; whatever is locked is locked in the order of ids, before any request."""

    async def lock(self, ids: Iterable[UUID]) -> dict[UUID, Contribution]: ...

    async def lock_own(self, contribution_id: UUID, person_id: UUID) -> Contribution | None: ...

    async def lock_current(
        self, person_id: UUID, *, scheme: str, period: str
    ) -> Contribution | None:
        """The one of a person and period that is not superseded.

        Until the transaction ends nobody else gets past this for the same person and period,
        also where there is none yet.
        """

    async def insert(self, contributions: Sequence[Contribution]) -> None: ...

    async def save(self, changes: Sequence[tuple[Contribution, Contribution]]) -> None:
        """Store (before, after) pairs, guarded by the version before; raises LostGuard."""

    async def replacement_of(self, contribution_id: UUID) -> UUID | None: ...

    async def view_own(self, contribution_id: UUID, person_id: UUID) -> ContributionView | None: ...

    async def list_own(
        self, person_id: UUID, *, before: UUID | None, limit: int
    ) -> list[ContributionView]:
        """Newest first, without superseded ones."""


class PaymentRequests(Protocol):
    """Payment requests; locked after their contributions."""

    async def lock(self, order_ids: Iterable[UUID]) -> dict[UUID, PaymentRequest]: ...

    async def insert(self, requests: Sequence[PaymentRequest]) -> None: ...

    async def save(self, changes: Sequence[tuple[PaymentRequest, PaymentRequest]]) -> None:
        """Store (before, after) pairs, guarded by what was told and heard before.

        Raises LostGuard.
        """

    async def lock_due(self, now: datetime, *, limit: int) -> list[PaymentRequest]:
        """Open ones whose time to ask has come; those that others work on are passed over."""

    async def blocked_people(self, person_ids: Sequence[UUID]) -> set[UUID]:
        """People behind whose dead letter this service holds back later facts."""


class MoneyDecisions(Protocol):
    """Decisions about unexpected money, one per attempt for ever."""

    async def find(self, attempt_ids: Iterable[UUID]) -> dict[UUID, MoneyDecision]: ...

    async def insert(self, decisions: Sequence[MoneyDecision]) -> None: ...

    async def save_asked(self, changes: Sequence[tuple[MoneyDecision, MoneyDecision]]) -> None:
        """Store (before, after) pairs, guarded by the question before; raises LostGuard."""


class Refunds(Protocol):
    """Money that went back."""

    async def insert(self, refunds: Sequence[Refund]) -> None:
        """One that is known already stays as it is."""

    async def totals(self, attempt_ids: Iterable[UUID]) -> Mapping[UUID, Money]:
        """What went back per attempt; zero where nothing did."""


class Channels(Protocol):
    """What payment announced of its channels."""

    async def known(self) -> KnownChannels | None:
        """The newest, however old it is; None where nothing was ever announced."""

    async def save(self, list_id: UUID, sequence: int, known: KnownChannels) -> None:
        """Unless its sequence is not above that of what is known."""


class Unit(Protocol):
    """One local transaction; use cases never commit."""

    @property
    def contributions(self) -> Contributions: ...

    @property
    def payment_requests(self) -> PaymentRequests: ...

    @property
    def money_decisions(self) -> MoneyDecisions: ...

    @property
    def refunds(self) -> Refunds: ...

    @property
    def channels(self) -> Channels: ...

    def emit(
        self,
        body: Event,
        *,
        subject: UUID,
        sequence: int,
        correlation_id: UUID,
        causation_id: UUID | None = None,
    ) -> UUID: ...

    async def repeat(self, event_ids: Sequence[UUID]) -> set[UUID]: ...

    async def open_item(self, kind: str, *, reference: str, detail: str) -> None: ...

    async def is_outbox_stuck(self) -> bool:
        """Whether something waits for so long that new payments must not be promised."""
