"""The direct channel: the server charges at once, exactly once per attempt id, in its own book."""

import re
import sqlite3
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field, StrictInt

from sandbox.book import Book
from sandbox.faults import Faults
from sandbox.problems import ATTEMPT_PATTERN, AttemptId, Cursor, Limit, Strict
from shared.kernel.clock import to_rfc3339
from shared.kernel.errors import Refused

Status = Literal["succeeded", "declined"]
AMOUNT_FEN_MAX = 10**12
RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def _rfc3339(value: object) -> object:
    """Nothing but RFC 3339 text: pydantic alone would take numbers for Unix time."""
    if not isinstance(value, str) or not RFC3339.fullmatch(value):
        raise ValueError("must be an RFC 3339 instant with an offset")
    return value


Instant = Annotated[AwareDatetime, BeforeValidator(_rfc3339)]


class NewCharge(Strict):
    attempt_id: Annotated[str, Field(pattern=ATTEMPT_PATTERN)]
    amount_fen: Annotated[StrictInt, Field(ge=1, le=AMOUNT_FEN_MAX)]
    currency: Literal["CNY"]
    payer_reference: Annotated[str, Field(min_length=1, max_length=64)]
    description: Annotated[str, Field(max_length=256)]
    expires_at: Instant


class Charge(BaseModel):
    """`reason` only where the charge was declined; `charged_at` is when the channel decided."""

    attempt_id: str
    status: Status
    trade_no: str
    amount_fen: int
    reason: str | None = None
    charged_at: str


class BookedCharge(BaseModel):
    """A line of the channel's own book; `request_count` counts all sends of the attempt."""

    attempt_id: str
    amount_fen: int
    status: Status
    trade_no: str
    charged_at: str
    request_count: int


class Totals(BaseModel):
    """Over the whole book, second bookings of a lying channel included."""

    succeeded_count: int
    succeeded_fen: int
    declined_count: int


class BookedCharges(BaseModel):
    items: list[BookedCharge]
    next_cursor: str | None
    totals: Totals


class DirectChannel:
    """Charges in the book; the answer to an attempt never changes once it is booked."""

    def __init__(self, book: Book, faults: Faults, *, seed: int) -> None:
        self._book = book
        self._faults = faults
        self._seed = seed

    def count_request(self, attempt_id: str) -> None:
        self._book.execute(
            "INSERT INTO charge_request VALUES (:attempt_id, 1)"
            " ON CONFLICT DO UPDATE SET request_count = request_count + 1",
            attempt_id=attempt_id,
        )

    def charge(self, new: NewCharge) -> Charge:
        """Book the charge, or answer as before. Raises Refused for the id with another amount."""
        with self._book.transaction():
            booked = self._first(new.attempt_id)
            if booked is None:
                booked = self._decide(new)
            if booked["amount_fen"] != new.amount_fen:
                detail = "This attempt was charged with another amount."
                raise Refused("attempt_conflict", detail)
            return _answer(booked)

    def find(self, attempt_id: str) -> Charge:
        """Raises Refused when nothing is booked under this attempt."""
        booked = self._first(attempt_id)
        if booked is None:
            raise Refused("charge_not_found", "Nothing is booked under this id.", status=404)
        return _answer(booked)

    def _decide(self, new: NewCharge) -> sqlite3.Row:
        # A channel that charged after expires_at would make "closed there" a lie.
        if new.expires_at <= datetime.now(UTC):
            return self._insert(new, copy=1, reason="expired")
        if declined := self._faults.fire("decline", "direct", "send"):
            return self._insert(new, copy=1, reason=declined.reason)
        booked = self._insert(new, copy=1, reason=None)
        if self._faults.fire("duplicate", "direct", "send"):
            self._insert(new, copy=2, reason=None)
        return booked

    def _insert(self, new: NewCharge, *, copy: int, reason: str | None) -> sqlite3.Row:
        row = self._book.row(
            "INSERT INTO charge (attempt_id, copy, trade_no, amount_fen, currency,"
            " payer_reference, description, status, reason, charged_at) VALUES (:attempt_id,"
            " :copy, :trade_no, :amount_fen, :currency, :payer_reference, :description, :status,"
            " :reason, :charged_at) RETURNING *",
            attempt_id=new.attempt_id,
            copy=copy,
            trade_no=self._trade_no(new.attempt_id, copy),
            amount_fen=new.amount_fen,
            currency=new.currency,
            payer_reference=new.payer_reference,
            description=new.description,
            status="declined" if reason else "succeeded",
            reason=reason,
            charged_at=to_rfc3339(datetime.now(UTC)),
        )
        assert row is not None
        return row

    def _trade_no(self, attempt_id: str, copy: int) -> str:
        """28 digits that depend on the seed and the attempt, not on who came first."""
        digest = sha256(f"{self._seed}:trade:{attempt_id}:{copy}".encode()).digest()
        return f"{int.from_bytes(digest, 'big') % 10**28:028d}"

    def _first(self, attempt_id: str) -> sqlite3.Row | None:
        return self._book.row(
            "SELECT * FROM charge WHERE attempt_id = :attempt_id AND copy = 1",
            attempt_id=attempt_id,
        )

    def booked(self, *, limit: int, before: int | None) -> BookedCharges:
        rows, next_cursor = self._book.page(
            "SELECT * FROM charge JOIN charge_request USING (attempt_id)",
            limit=limit,
            before=before,
        )
        items = [BookedCharge(**dict(row)) for row in rows]
        return BookedCharges(items=items, next_cursor=next_cursor, totals=self.totals())

    def totals(self) -> Totals:
        row = self._book.row(
            "SELECT count(*) FILTER (WHERE status = 'succeeded') AS succeeded_count,"
            " coalesce(sum(amount_fen) FILTER (WHERE status = 'succeeded'), 0) AS succeeded_fen,"
            " count(*) FILTER (WHERE status = 'declined') AS declined_count FROM charge"
        )
        assert row is not None
        return Totals(**dict(row))


def _answer(row: sqlite3.Row) -> Charge:
    return Charge(**{name: row[name] for name in Charge.model_fields})


def direct_routes(channel: DirectChannel, faults: Faults) -> APIRouter:
    router = APIRouter(tags=["direct"])

    @router.post("/direct/v1/charges", response_model_exclude_none=True)
    async def charge(new: NewCharge, request: Request) -> Charge:
        channel.count_request(new.attempt_id)
        await faults.before(request, "direct", "send")
        answer = channel.charge(new)
        await faults.after(request, "direct", "send")
        return answer

    @router.get("/direct/v1/charges/{attempt_id}", response_model_exclude_none=True)
    async def query_charge(attempt_id: AttemptId, request: Request) -> Charge:
        await faults.before(request, "direct", "query")
        answer = channel.find(attempt_id)
        await faults.after(request, "direct", "query")
        return answer

    @router.get("/sandbox/v1/charges")
    async def list_charges(limit: Limit = 100, cursor: Cursor = None) -> BookedCharges:
        return channel.booked(limit=limit, before=int(cursor) if cursor else None)

    @router.get("/sandbox/v1/charges/totals")
    async def total_charges() -> Totals:
        return channel.totals()

    return router
