"""What the use cases need from outside; `adapters/` has one file per technology behind these."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol
from uuid import UUID

from services.identity.domain.one_time_code import CodeRequest, Purpose
from services.identity.domain.phone import Phone
from services.identity.domain.session import EndReason, ShownToken


class PhoneNumbers(Protocol):
    def accept(self, text: str) -> Phone:
        """Raises Refused where it is no mobile number in E.164, or of a country not served."""
        ...


class Vault(Protocol):
    """The keys: what is stored of phones and codes is useless without them."""

    def index(self, phone: Phone) -> bytes: ...
    def index_address(self, address: str) -> bytes: ...
    def seal(self, phone: Phone, owner: UUID) -> bytes:
        """Encrypt for one row; `open` works for the same owner only."""
        ...

    def open(self, sealed: bytes, owner: UUID) -> Phone: ...
    def needs_resealing(self, sealed: bytes) -> bool: ...
    def code_mac(self, request: CodeRequest, code: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class PendingCode:
    """A code that waits to be entered: never in clear, its phone sealed for the request."""

    request: CodeRequest
    mac: bytes
    phone_sealed: bytes


@dataclass(frozen=True, slots=True)
class CodeRight:
    """The one try that wins; the code is gone already."""

    phone_sealed: bytes


@dataclass(frozen=True, slots=True)
class CodeWrong:
    tries_left: int


@dataclass(frozen=True, slots=True)
class CodeGone:
    """Never there, too old, used, replaced by a newer one, or tried too often."""


CodeVerdict = CodeRight | CodeWrong | CodeGone


class Codes(Protocol):
    """Codes that wait. Everything here raises Unavailable while the store does not answer."""

    async def keep(self, code: PendingCode) -> None:
        """Void what waited for the same phone and purpose, and keep this one for its lifetime."""
        ...

    async def find(self, request_id: UUID, purpose: Purpose) -> CodeRequest | None: ...

    async def try_code(self, request: CodeRequest, mac: bytes) -> CodeVerdict:
        """Count the try, compare and delete in one indivisible step."""
        ...

    async def drop(self, request: CodeRequest) -> None: ...


@dataclass(frozen=True, slots=True)
class SmsSlot:
    """One counted SMS; `taken_by` tells it from all others."""

    taken_by: UUID
    phone_index: bytes
    address_index: bytes


class SmsSlots(Protocol):
    """The limits per phone and per client address."""

    async def take(self, slot: SmsSlot) -> None:
        """Check every limit and count, in one indivisible step; raises Refused."""
        ...

    async def give_back(self, slot: SmsSlot) -> None:
        """Nothing was sent: count nothing."""
        ...

    async def waive_wait(self, slot: SmsSlot) -> None:
        """It may have been sent, but helps nobody: still counted, yet a new one may follow."""
        ...


class SmsBudget(Protocol):
    """The cap on all SMS of one day; each call is a short transaction of its own."""

    async def take(self, now: datetime) -> bool:
        """Count one SMS; False where the day's budget is used up."""
        ...

    async def give_back(self, now: datetime) -> None: ...


class SmsOutcome(Enum):
    """What the gateway's answer, or its silence, tells."""

    ACCEPTED = "accepted"
    NOT_SENT = "not_sent"
    """It refused, or was not reached at all."""
    FAILED = "failed"
    """It answered with an error of its own, which may hide that it sent the message."""
    UNKNOWN = "unknown"
    """No answer in time: the message may well arrive."""


@dataclass(frozen=True, slots=True)
class CodeMessage:
    """An SMS with a code; `reference` is ours and the same however often it is sent."""

    reference: UUID
    phone: Phone
    purpose: Purpose
    code: str
    language: str


class SmsGateway(Protocol):
    async def send(self, message: CodeMessage) -> SmsOutcome: ...


@dataclass(frozen=True, slots=True)
class Person:
    insured_person_id: UUID
    phone_sealed: bytes
    created_at: datetime


class People(Protocol):
    async def find_or_add(self, person: Person, phone_index: bytes) -> Person:
        """The one person with this phone; of parallel first log-ins one adds the row."""
        ...

    async def reseal(self, insured_person_id: UUID, phone_sealed: bytes) -> None: ...
    async def get(self, insured_person_id: UUID) -> Person | None: ...


class Sessions(Protocol):
    async def open(self, session_id: UUID, insured_person_id: UUID, now: datetime) -> None: ...
    async def is_open(self, session_id: UUID, insured_person_id: UUID) -> bool: ...
    async def add_token(self, session_id: UUID, token_hash: bytes, now: datetime) -> None: ...

    async def lock_token(self, token_hash: bytes) -> ShownToken | None:
        """The token with its session's row locked until the transaction ends."""
        ...

    async def mark_used(self, token_hash: bytes, now: datetime) -> None: ...

    async def void_unused(self, session_id: UUID, now: datetime) -> None:
        """The token that nobody used works no more; to show it is as bad as to show a used one."""
        ...

    async def end(self, session_id: UUID, reason: EndReason, now: datetime) -> bool:
        """False where it had ended before."""
        ...


class Unit(Protocol):
    """One local transaction; who opened it commits."""

    @property
    def people(self) -> People: ...
    @property
    def sessions(self) -> Sessions: ...


class AccessTokens(Protocol):
    lifetime_seconds: int

    def sign(self, *, insured_person_id: UUID, session_id: UUID, now: datetime) -> str: ...
