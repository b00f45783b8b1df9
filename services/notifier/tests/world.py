"""The notifier on a real database, with a clock that is moved and a real SMS gateway."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx2

from services.notifier.adapters.consumer import reactions
from services.notifier.adapters.jinja_texts import JinjaTexts
from services.notifier.adapters.postgres.unit import statements_of, transactions_of
from services.notifier.application.deliver_messages import DeliverMessages
from services.notifier.application.ports import SmsProvider, SmsText
from services.notifier.domain.announcements import ANNOUNCEMENTS
from services.notifier.domain.deliveries import Answer, Delivery, Schedule
from shared.kernel.errors import Unavailable
from shared.kernel.events import Event, Message
from shared.runtime.database.database import Database, is_transient
from shared.runtime.database.statements import text
from testing.builders import message
from testing.clock import FixedClock

# Everything at once: a test moves the clock instead of waiting.
AT_ONCE = Schedule(
    first_ask_seconds=0.0,
    ask_cap_seconds=0.0,
    resend_seconds=0.0,
    resend_cap_seconds=0.0,
    first_retry_seconds=0.0,
    retry_cap_seconds=0.0,
    send_count_max=3,
)
A_DAY_AND_A_MINUTE = timedelta(days=1, minutes=1)
BUSINESS_TABLES = ("notification", "bill", "payment_order")


class Phones:
    """Contacts in memory: everybody has a phone, until identity is down or knows nobody."""

    def __init__(self) -> None:
        self.is_down = False
        self.unknown: set[UUID] = set()

    async def phone_of(self, person_id: UUID) -> str | None:
        if self.is_down:
            raise Unavailable("contact_unavailable", "identity is down")
        return None if person_id in self.unknown else phone_number(person_id)


class ProcessDied(BaseException):
    """Ends a step as SIGKILL would: no handler of ours may catch it."""


class DyingProvider:
    """A provider whose caller dies during the call: before or after the wire."""

    def __init__(self, real: SmsProvider, *, before_sending: bool) -> None:
        self._real = real
        self._before_sending = before_sending

    async def send(self, reference: UUID, phone: str, sms: SmsText) -> Answer:
        if not self._before_sending:
            await self._real.send(reference, phone, sms)
        raise ProcessDied

    async def ask(self, reference: UUID) -> Answer:
        return await self._real.ask(reference)


class SlowProvider:
    """The first SMS waits at the gate; all others are delivered at once."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.waiting: UUID | None = None
        self.is_waiting = False

    async def send(self, reference: UUID, phone: str, sms: SmsText) -> Answer:
        if self.waiting is None:
            self.waiting, self.is_waiting = reference, True
            try:
                await self.gate.wait()
            finally:
                self.is_waiting = False
        return Answer.DELIVERED

    async def ask(self, reference: UUID) -> Answer:
        return Answer.NO_ANSWER


def phone_number(person_id: UUID) -> str:
    return f"+86199{person_id.int % 10**8:08d}"


@dataclass(kw_only=True)
class World:
    database: Database
    provider: SmsProvider
    gateway: httpx2.AsyncClient
    clock: FixedClock
    phones: Phones = field(default_factory=Phones)
    ended: list[Delivery] = field(default_factory=list)

    def deliverer(self, provider: SmsProvider | None = None) -> DeliverMessages:
        return DeliverMessages(
            transactions_of(self.database),
            statements=statements_of(self.database),
            contacts=self.phones,
            provider=provider or self.provider,
            texts=JinjaTexts(hotline="12366"),
            clock=self.clock,
            schedule=AT_ONCE,
            ended=self.ended.append,
            is_transient=is_transient,
        )

    async def tell(self, *messages: Message[Any]) -> None:
        """Apply messages one by one, as a consumer whose inbox is always empty."""
        for told in messages:
            async with self.database.transaction() as unit:
                await reactions(self.clock, ANNOUNCEMENTS)[type(told.body)](unit, [told])

    def news(self, body: Event, **fields: Any) -> Message[Any]:
        return message(body, **({"time": self.clock.now()} | fields))

    async def deliver(
        self, deliverer: DeliverMessages | None = None, *, rounds_max: int = 1000
    ) -> None:
        """Run the loop's step until nothing is due; bounded."""
        deliverer = deliverer or self.deliverer()
        for _ in range(rounds_max):
            if not await deliverer.step():
                return
        raise AssertionError("something stays due for ever")

    async def let_leases_run_out(self) -> None:
        async with self.database.transaction() as unit:
            await unit.connection.execute(
                text("UPDATE notification SET due_at = now() WHERE due_at IS NOT NULL")
            )

    async def let_one_count_no_further(self) -> None:
        """Another send of one queued SMS does not fit its row."""
        statement = """
            UPDATE notification SET send_count = 2147483647, sent_at = status_at
            WHERE id = (SELECT id FROM notification WHERE status = 'QUEUED' ORDER BY id LIMIT 1)
            """
        async with self.database.transaction() as unit:
            await unit.connection.execute(text(statement))

    async def rows(self, query: str, **values: Any) -> Sequence[Mapping[str, Any]]:
        async with self.database.transaction() as unit:
            found = await unit.connection.execute(text(query), values)
            return [dict(row) for row in found.mappings()]

    async def sms_states(self) -> dict[str, int]:
        rows = await self.rows("SELECT status FROM notification WHERE channel = 'sms'")
        return dict(Counter(row["status"] for row in rows))

    async def business_state(self) -> dict[str, list[str]]:
        """All business rows without the times at which we happened to look."""
        state = {}
        for table in BUSINESS_TABLES:
            rows = await self.rows(f"SELECT * FROM {table} ORDER BY 1")
            skipped = {"due_at", "status_at", "sent_at"}
            state[table] = [
                str({name: value for name, value in row.items() if name not in skipped})
                for row in rows
            ]
        return state

    async def messages_at_gateway(self) -> list[dict[str, Any]]:
        answer = await self.gateway.get("/sandbox/v1/sms?limit=1000")
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def fault(self, kind: str, **more: Any) -> None:
        body = {"target": "sms", "kind": kind, "count": 1} | more
        (await self.gateway.post("/sandbox/v1/faults", json=body)).raise_for_status()

    async def empty(self) -> None:
        async with self.database.transaction() as unit:
            for table in (*BUSINESS_TABLES, "operator_item"):
                await unit.connection.execute(text(f"TRUNCATE {table} CASCADE"))


def some_clock() -> FixedClock:
    return FixedClock(datetime.now(UTC))
