"""Faults on demand: what the outside world gets wrong, for how many calls, and how often.

A call meets its faults in this order: slow → error or time-out before booking → (booking:
decline, duplicate) → error or time-out after booking. Of each kind the oldest that still has
shots fires, one per call; a call that ends early does not use up the later ones.
"""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, StrictInt, model_validator
from starlette.types import Receive

from sandbox.book import Book
from sandbox.problems import Injected, Strict
from shared.kernel.errors import Refused

Target = Literal["direct", "sms"]
Call = Literal["send", "query"]
Kind = Literal[
    "slow",
    "timeout_before_booking",
    "error_500",
    "decline",
    "duplicate",
    "timeout_after_booking",
    "error_500_after_booking",
]
BOOKING_KINDS = ("decline", "duplicate")

DELAY_MS_MAX = 60_000
# Longer than any sensible client waits, short enough that nothing is held for ever.
HOLD_MS = 30_000
SLOW_MS = 2_000
DECLINE_REASONS = {"direct": "insufficient_balance", "sms": "unreachable_number"}
FAULTS_MAX = 1_000


class NewFault(Strict):
    """`count` null or absent: until deleted. `rate`: the seeded share of calls that it hits."""

    target: Target
    kind: Kind
    on: Literal["send", "query", "any"] = "send"
    count: Annotated[StrictInt, Field(ge=1, le=1_000_000)] | None = None
    delay_ms: Annotated[StrictInt, Field(ge=0, le=DELAY_MS_MAX)] | None = None
    reason: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")] | None = None
    rate: Annotated[float, Field(strict=True, gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def booking_happens_on_send(self) -> Self:
        if self.kind in BOOKING_KINDS and self.on == "query":
            raise ValueError(f"{self.kind} changes a booking, and a query books nothing")
        return self


class FaultView(BaseModel):
    """A fault and how often it fired so far."""

    fault_id: str
    target: Target
    kind: Kind
    on: Literal["send", "query", "any"]
    count: int | None
    delay_ms: int
    reason: str
    rate: float
    fired_count: int


class FaultList(BaseModel):
    """`held_count`: calls that a fault slows down or keeps without an answer right now."""

    held_count: int
    items: list[FaultView]
    next_cursor: None = None


@dataclass(frozen=True, slots=True)
class Shot:
    """One firing of a fault."""

    delay_seconds: float
    reason: str


class Faults:
    """Knows the faults, lets them fire, and can let go of every call that is being held."""

    def __init__(self, book: Book, *, seed: int) -> None:
        self._book = book
        self._seed = seed
        self._released = asyncio.Event()
        self._held_count = 0

    def fire(self, kind: Kind, target: Target, call: Call) -> Shot | None:
        """Let the oldest matching fault fire; each one that is asked draws from the seed once."""
        live = self._book.rows(
            "SELECT * FROM fault WHERE target = :target AND kind = :kind"
            " AND on_call IN (:call, 'any') AND (count IS NULL OR fired_count < count)"
            " ORDER BY seq",
            target=target,
            kind=kind,
            call=call,
        )
        for fault in live:
            hit = self._draw(fault) < fault["rate"]
            self._book.execute(
                "UPDATE fault SET seen_count = seen_count + 1, fired_count = fired_count + :hit"
                " WHERE seq = :seq",
                seq=fault["seq"],
                hit=int(hit),
            )
            if hit:
                return Shot(fault["delay_ms"] / 1000, fault["reason"])
        return None

    async def before(self, request: Request, target: Target, call: Call) -> None:
        """What goes wrong before anything is booked or read. Raises Injected."""
        if shot := self.fire("slow", target, call):
            with self._held():
                await self._delay(shot.delay_seconds)
        if self.fire("error_500", target, call):
            raise Injected(500, "injected_error", "A fault on demand: nothing was booked.")
        if shot := self.fire("timeout_before_booking", target, call):
            with self._held():
                await self._hold(request.receive, shot.delay_seconds)

    async def after(self, request: Request, target: Target, call: Call) -> None:
        """What goes wrong after the book is written. Raises Injected."""
        if self.fire("error_500_after_booking", target, call):
            raise Injected(500, "injected_error", "A fault on demand.")
        if shot := self.fire("timeout_after_booking", target, call):
            with self._held():
                await self._hold(request.receive, shot.delay_seconds)

    def release(self) -> None:
        """Let go of every call that is held or slowed down: at reset and at shutdown."""
        self._released.set()
        self._released = asyncio.Event()

    @contextmanager
    def _held(self) -> Iterator[None]:
        self._held_count += 1
        try:
            yield
        finally:
            self._held_count -= 1

    async def _delay(self, seconds: float) -> None:
        """A slow outside world does its work even when the caller has left meanwhile."""
        try:
            await asyncio.wait_for(self._released.wait(), timeout=seconds)
        except TimeoutError:
            return
        raise Injected(503, "sandbox_interrupted", "The sandbox was reset or stopped meanwhile.")

    async def _hold(self, receive: Receive, seconds: float) -> None:
        """Answer nothing until the caller goes away, `seconds` passed or somebody releases."""
        ends = {
            asyncio.create_task(_client_gone(receive)),
            asyncio.create_task(self._released.wait()),
        }
        _, pending = await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        raise Injected(504, "injected_timeout", "A fault on demand held this call.")

    def _draw(self, fault: sqlite3.Row) -> float:
        """A number in [0, 1) for the n-th call that this fault saw: the same in every run."""
        text = f"{self._seed}:fault:{fault['seq']}:{fault['seen_count']}"
        return int.from_bytes(sha256(text.encode()).digest()[:6], "big") / 2**48

    def add(self, new: NewFault) -> FaultView:
        """Raises Refused when there are too many already."""
        known = self._book.row("SELECT count(*) AS count FROM fault")
        if known and known["count"] >= FAULTS_MAX:
            raise Refused("too_many_faults", "Delete faults before adding more.")
        default_ms = SLOW_MS if new.kind == "slow" else HOLD_MS
        fault = self._book.row(
            "INSERT INTO fault (target, kind, on_call, count, delay_ms, reason, rate)"
            " VALUES (:target, :kind, :call, :count, :delay_ms, :reason, :rate) RETURNING *",
            target=new.target,
            kind=new.kind,
            call=new.on,
            count=new.count,
            delay_ms=default_ms if new.delay_ms is None else new.delay_ms,
            reason=new.reason or DECLINE_REASONS[new.target],
            rate=new.rate,
        )
        assert fault is not None
        return _view(fault)

    def all(self) -> FaultList:
        rows = self._book.rows("SELECT * FROM fault ORDER BY seq")
        return FaultList(held_count=self._held_count, items=[_view(row) for row in rows])

    def clear(self) -> None:
        self._book.execute("DELETE FROM fault")

    def remove(self, fault_id: str) -> None:
        """Raises Refused when there is no such fault."""
        # Compared as text, so that an id of any length or shape is simply not found.
        statement = "DELETE FROM fault WHERE 'fault-' || seq = :fault_id"
        if not self._book.execute(statement, fault_id=fault_id):
            raise Refused("fault_not_found", "There is no such fault.", status=404)


async def _client_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _view(fault: sqlite3.Row) -> FaultView:
    return FaultView(
        fault_id=f"fault-{fault['seq']}",
        target=fault["target"],
        kind=fault["kind"],
        on=fault["on_call"],
        count=fault["count"],
        delay_ms=fault["delay_ms"],
        reason=fault["reason"],
        rate=fault["rate"],
        fired_count=fault["fired_count"],
    )


def fault_routes(faults: Faults) -> APIRouter:
    router = APIRouter(prefix="/sandbox/v1/faults", tags=["faults"])

    @router.post("", status_code=201)
    async def add_fault(new: NewFault) -> FaultView:
        return faults.add(new)

    @router.get("")
    async def list_faults() -> FaultList:
        return faults.all()

    @router.delete("", status_code=204)
    async def clear_faults() -> Response:
        faults.clear()
        return Response(status_code=204)

    @router.delete("/{fault_id}", status_code=204)
    async def remove_fault(fault_id: str) -> Response:
        faults.remove(fault_id)
        return Response(status_code=204)

    return router
