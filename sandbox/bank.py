"""The bank: our server debits an account, exactly once per attempt id, in the bank's own book.

A debit is `accepted`, then `processing`, and ends `succeeded` or `declined`; without a fault it
ends at once.
"""

import re
import sqlite3
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field, StrictInt

from sandbox.book import Book
from sandbox.faults.faults import Faults
from sandbox.faults.hostile import distorted
from sandbox.faults.kinds import Call
from sandbox.problems import ATTEMPT_PATTERN, AttemptId, Cursor, Limit, Strict
from shared.kernel.clock import to_rfc3339
from shared.kernel.errors import Refused

Status = Literal["accepted", "processing", "succeeded", "declined"]
AMOUNT_FEN_MAX = 10**12
DEBITS = (
    "SELECT charge.*, coalesce(settles_at > :now, FALSE) AS is_open FROM charge"
    " LEFT JOIN unsettled_debit ON unsettled_debit.attempt_id = charge.attempt_id"
)
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


class NewDebit(Strict):
    attempt_id: Annotated[str, Field(pattern=ATTEMPT_PATTERN)]
    amount_fen: Annotated[StrictInt, Field(ge=1, le=AMOUNT_FEN_MAX)]
    currency: Literal["CNY"]
    payer_reference: Annotated[str, Field(min_length=1, max_length=64)]
    description: Annotated[str, Field(max_length=256)]
    expires_at: Instant


class Debit(BaseModel):
    """`reason` only where the debit was declined; `charged_at` is when the bank took it in."""

    attempt_id: str
    status: Status
    trade_no: str
    amount_fen: int
    reason: str | None = None
    charged_at: str


class BookedDebit(BaseModel):
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


class BookedDebits(BaseModel):
    items: list[BookedDebit]
    next_cursor: str | None
    totals: Totals


class Bank:
    """Debits in the book; once decided, the answer to an attempt never changes."""

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

    def debit(self, new: NewDebit) -> Debit:
        """Book the debit, or answer as before. Raises Refused for the id with another amount."""
        with self._book.transaction():
            booked = self._first(new.attempt_id)
            if booked is None:
                booked = self._decide(new)
            if booked["amount_fen"] != new.amount_fen:
                detail = "This attempt was debited with another amount."
                raise Refused("attempt_conflict", detail)
            return self._answer(booked, while_open="accepted")

    def find(self, attempt_id: str) -> Debit:
        """Raises Refused when nothing is booked under this attempt."""
        booked = self._first(attempt_id)
        if booked is None:
            raise Refused("debit_not_found", "Nothing is booked under this id.", status=404)
        return self._answer(booked, while_open="processing")

    def _answer(self, row: sqlite3.Row, *, while_open: Status) -> Debit:
        found = {name: row[name] for name in Debit.model_fields}
        if row["is_open"]:
            found |= {"status": while_open, "reason": None}
        return Debit(**found)

    def _decide(self, new: NewDebit) -> sqlite3.Row:
        # A channel that charged after expires_at would make "closed there" a lie.
        order = new.attempt_id
        if new.expires_at <= datetime.now(UTC):
            return self._insert(new, copy=1, reason="expired")
        if declined := self._faults.fire("decline", "bank", "send", order=order):
            self._insert(new, copy=1, reason=declined.reason)
        else:
            self._insert(new, copy=1, reason=None)
            if self._faults.fire("duplicate", "bank", "send", order=order):
                self._insert(new, copy=2, reason=None)
        if slow := self._faults.fire("processing", "bank", "send", order=order):
            self._leave_open(order, timedelta(seconds=slow.delay_seconds))
        booked = self._first(order)
        assert booked is not None
        return booked

    def _leave_open(self, attempt_id: str, for_: timedelta) -> None:
        self._book.execute(
            "INSERT INTO unsettled_debit VALUES (:attempt_id, :settles_at)",
            attempt_id=attempt_id,
            settles_at=to_rfc3339(datetime.now(UTC) + for_),
        )

    def _insert(self, new: NewDebit, *, copy: int, reason: str | None) -> sqlite3.Row:
        row = self._book.row(
            "INSERT INTO charge (attempt_id, copy, trade_no, amount_fen, currency,"
            " payer_reference, description, status, reason, charged_at) VALUES (:attempt_id,"
            " :copy, :trade_no, :amount_fen, :currency, :payer_reference, :description, :status,"
            " :reason, :charged_at) RETURNING *, 0 AS is_open",
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
            f"{DEBITS} WHERE charge.attempt_id = :attempt_id AND copy = 1",
            attempt_id=attempt_id,
            now=to_rfc3339(datetime.now(UTC)),
        )

    def booked(self, *, limit: int, before: int | None) -> BookedDebits:
        rows, next_cursor = self._book.page(
            f"SELECT * FROM ({DEBITS}) JOIN charge_request USING (attempt_id)",
            limit=limit,
            before=before,
            now=to_rfc3339(datetime.now(UTC)),
        )
        items = [_booked(row) for row in rows]
        return BookedDebits(items=items, next_cursor=next_cursor, totals=self.totals())

    def totals(self) -> Totals:
        row = self._book.row(
            "SELECT count(*) FILTER (WHERE status = 'succeeded') AS succeeded_count,"
            " coalesce(sum(amount_fen) FILTER (WHERE status = 'succeeded'), 0) AS succeeded_fen,"
            f" count(*) FILTER (WHERE status = 'declined') AS declined_count FROM ({DEBITS})"
            " WHERE NOT is_open",
            now=to_rfc3339(datetime.now(UTC)),
        )
        assert row is not None
        return Totals(**dict(row))


def _booked(row: sqlite3.Row) -> BookedDebit:
    return BookedDebit(**{**dict(row), "status": "processing" if row["is_open"] else row["status"]})


def bank_routes(bank: Bank, faults: Faults) -> APIRouter:
    router = APIRouter(tags=["bank"])

    @router.post("/bank/v1/debits", response_model=Debit)
    async def debit(new: NewDebit, request: Request) -> Response:
        bank.count_request(new.attempt_id)
        await faults.before(request, "bank", "send", order=new.attempt_id)
        return await said(request, "send", bank.debit(new))

    @router.get("/bank/v1/debits/{attempt_id}", response_model=Debit)
    async def query_debit(attempt_id: AttemptId, request: Request) -> Response:
        await faults.before(request, "bank", "query", order=attempt_id)
        return await said(request, "query", bank.find(attempt_id))

    @router.get("/sandbox/v1/charges")
    async def list_debits(limit: Limit = 100, cursor: Cursor = None) -> BookedDebits:
        return bank.booked(limit=limit, before=int(cursor) if cursor else None)

    @router.get("/sandbox/v1/charges/totals")
    async def total_debits() -> Totals:
        return bank.totals()

    async def said(request: Request, call: Call, answer: Debit) -> Response:
        order = answer.attempt_id
        await faults.after(request, "bank", call, order=order)
        text = answer.model_dump_json(exclude_none=True)
        false = distorted(faults, "bank", call, text, order=order)
        return Response(text if false is None else false, media_type="application/json")

    return router
