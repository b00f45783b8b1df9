"""What the use cases need from outside; the adapters are in `adapters/`."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.notifier.domain.deliveries import Answer, Decision, Delivery
from services.notifier.domain.notifications import (
    Bill,
    Facts,
    Notification,
    OrderOutcome,
    Role,
    Status,
    Told,
)
from shared.kernel.wording import Language


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsState:
    """How far the SMS beside an inbox entry got, and since when."""

    status: Status
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxEntry:
    """One entry of a person's inbox; its words are made when it is read."""

    id: UUID
    template: str
    role: Role
    contribution_id: UUID
    payment_order_id: UUID | None
    bill: Bill | None
    facts: Facts
    occurred_at: datetime
    sms: SmsState | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where in an inbox, newest first, a page ended."""

    occurred_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class InboxText:
    """An inbox entry as a person reads it."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class SmsText:
    """An SMS: the registered template and its variables, and what comes of them."""

    template: str
    variables: Mapping[str, str]
    text: str


class Notifications(Protocol):
    """The rows, inside one transaction; every method is one set statement."""

    async def remember_bills(self, bills: Sequence[Bill]) -> None: ...

    async def lock_orders(self, order_ids: Sequence[UUID], *, outcome: OrderOutcome | None) -> None:
        """Note the orders and lock them until the commit; an outcome is never taken back."""

    async def add(self, notifications: Sequence[Notification], *, at: datetime) -> None:
        """Record those that are not recorded yet; the others stay as they are."""

    async def queued_of_orders(
        self, order_ids: Sequence[UUID], *, templates: Collection[str]
    ) -> list[Delivery]:
        """The SMS of these orders, with one of these templates, that nobody handed over yet.

        Locked, in the order of ids.
        """

    async def claim_due(self, *, limit: int, lease_seconds: float) -> list[Delivery]:
        """Take due SMS rows for `lease_seconds` of database time; rows others hold are skipped."""

    async def save(self, changes: Sequence[tuple[Delivery, Decision]]) -> None:
        """Write each decision on a row that is locked; raises LostGuard."""

    async def save_if_held(
        self, decisions: Sequence[Decision], claimed: Sequence[Delivery]
    ) -> set[UUID]:
        """Write each decision where its row is still as claimed; returns the ids written.

        Only a lease is held, so another may have taken a row over: it decides about that.
        """

    async def inbox_of(
        self, person_id: UUID, *, limit: int, before: Place | None
    ) -> list[InboxEntry]: ...


class StatementUnit(Protocol):
    """One statement, which commits by itself: no item can be opened beside it."""

    @property
    def notifications(self) -> Notifications: ...


class Unit(StatementUnit, Protocol):
    """One transaction of the notifier."""

    async def open_item(self, kind: str, reference: UUID, detail: str) -> None: ...


class Transactions(Protocol):
    """Opens transactions: committed at the end of the block, rolled back on any exception."""

    def __call__(self) -> AbstractAsyncContextManager[Unit]: ...


class Statements(Protocol):
    """Opens a unit for one statement: one trip to the database instead of three."""

    def __call__(self) -> AbstractAsyncContextManager[StatementUnit]: ...


class Contacts(Protocol):
    """Where a person can be reached."""

    async def phone_of(self, person_id: UUID) -> str | None:
        """E.164, or None where there is nobody to reach. Raises Unavailable: ask later."""


class SmsProvider(Protocol):
    """The gateway. It never raises: what cannot be known is NO_ANSWER."""

    async def send(self, reference: UUID, phone: str, sms: SmsText) -> Answer: ...

    async def ask(self, reference: UUID) -> Answer: ...


class Texts(Protocol):
    """The words."""

    def inbox(self, told: Told, language: Language) -> InboxText: ...

    def sms(self, told: Told, language: Language) -> SmsText: ...
