"""Faults on demand: what the outside world gets wrong, for how many calls, and how often.

A call meets its faults in this order: slow → error or time-out before booking → (booking:
decline, duplicate, processing) → error or time-out after booking → hostile answer. Of each kind
the oldest that still has shots fires, one per call; a call that ends early does not use up the
later ones.
"""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from starlette.types import Receive

from sandbox.book import Book
from sandbox.faults.kinds import Call, Kind, NewFault, Target
from sandbox.problems import Injected
from shared.kernel.errors import Refused

FAULTS_MAX = 1_000


class FaultView(BaseModel):
    """A fault and how often it fired so far."""

    fault_id: str
    target: Target
    kind: Kind
    on: Call | Literal["any"]
    order: str | None
    count: int | None
    delay_ms: int
    times: int
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
    times: int


class Faults:
    """Knows the faults, lets them fire, and can let go of every call that is being held."""

    def __init__(self, book: Book, *, seed: int) -> None:
        self._book = book
        self._seed = seed
        self._released = asyncio.Event()
        self._held_count = 0

    def fire(
        self, kind: Kind, target: Target, call: Call, *, order: str | None = None
    ) -> Shot | None:
        """Let the oldest matching fault fire; each one that is asked draws from the seed once."""
        live = self._book.rows(
            "SELECT * FROM fault WHERE target = :target AND kind = :kind"
            " AND on_call IN (:call, 'any') AND (count IS NULL OR fired_count < count)"
            " AND (order_no IS NULL OR order_no = :order_no) ORDER BY seq",
            target=target,
            kind=kind,
            call=call,
            order_no=order,
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
                return Shot(fault["delay_ms"] / 1000, fault["reason"], fault["times"])
        return None

    async def before(
        self, request: Request, target: Target, call: Call, *, order: str | None = None
    ) -> None:
        """What goes wrong before anything is booked or read. Raises Injected."""
        if shot := self.fire("slow", target, call, order=order):
            with self._held():
                await self._delay(shot.delay_seconds)
        if self.fire("error_500", target, call, order=order):
            raise Injected(500, "injected_error", "A fault on demand: nothing was booked.")
        if shot := self.fire("timeout_before_booking", target, call, order=order):
            with self._held():
                await self._hold(request.receive, shot.delay_seconds)

    async def after(
        self, request: Request, target: Target, call: Call, *, order: str | None = None
    ) -> None:
        """What goes wrong after the book is written. Raises Injected."""
        if self.fire("error_500_after_booking", target, call, order=order):
            raise Injected(500, "injected_error", "A fault on demand.")
        if shot := self.fire("timeout_after_booking", target, call, order=order):
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
        fault = self._book.row(
            "INSERT INTO fault (target, kind, on_call, order_no, count, delay_ms, times, reason,"
            " rate) VALUES (:target, :kind, :call, :order_no, :count, :delay_ms, :times, :reason,"
            " :rate) RETURNING *",
            target=new.target,
            kind=new.kind,
            call=new.call,
            order_no=new.order,
            count=new.count,
            delay_ms=new.delay_or_default_ms,
            times=new.times,
            reason=new.reason_or_default,
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
        order=fault["order_no"],
        count=fault["count"],
        delay_ms=fault["delay_ms"],
        times=fault["times"],
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
