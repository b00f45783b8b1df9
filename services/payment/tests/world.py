"""Payment on a real database with a clock that is moved: reactions, loops, and what they left."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from services.payment.adapters.consumer import build_consumer
from services.payment.adapters.postgres.unit import PaymentUnit, statements_of, transactions_of
from services.payment.application.expire_orders import expire_orders
from services.payment.application.open_orders import OrderOpener
from services.payment.application.ports import AnyChannel, FirstCalls, Transactions
from services.payment.application.record_outcomes import Answered, record_outcomes
from services.payment.application.repeat_unexpected_money import repeat_unexpected_money
from services.payment.application.run_attempts import AttemptRunner
from services.payment.domain.channel_answer import Answer
from services.payment.domain.payment_attempt import Call
from services.payment.domain.switch import Switch
from services.payment.tests.fake_cashier import FakeCashier
from shared.kernel.events import Event, Message, PaymentRequested, decode
from shared.kernel.leased_calls import Limits
from shared.runtime.database.database import Database, is_transient
from shared.runtime.database.statements import text
from testing.builders import message, payment_outcome_asked, payment_requested
from testing.clock import FixedClock

BUSINESS_TABLES = ("payment_order", "payment_attempt", "refund")
# Small enough for tests to wait for, large enough for a busy machine.
QUICK = Limits(concurrent_calls=20, call_timeout_seconds=0.5, lease_seconds=1.5)
HORIZON = timedelta(days=3)


def some_clock() -> FixedClock:
    """Real time, because the sandbox compares expiries with its own clock."""
    return FixedClock(datetime.now(UTC).replace(microsecond=0))


@dataclass(kw_only=True)
class World:
    database: Database
    channel: AnyChannel
    clock: FixedClock
    cashiers: dict[str, FakeCashier] = field(default_factory=dict)
    limits: Limits = QUICK
    transactions: Transactions = field(init=False)
    runner: AttemptRunner = field(init=False)
    late: AttemptRunner = field(init=False)

    def __post_init__(self) -> None:
        self.transactions = transactions_of(self.database)
        self.runner = self.a_runner()
        self.late = self.a_runner(asks_late=True)
        self.react()

    def react(self, *, first_calls: FirstCalls | None = None) -> None:
        """Apply what is told from now on as a worker that begins first calls there, or nowhere."""
        opener = OrderOpener(
            channels={id: channel.capabilities for id, channel in self.channels.items()},
            default_channel=self.channel.capabilities.id,
            clock=self.clock,
            first_calls=first_calls,
        )
        self.consumer = build_consumer(opener=opener, clock=self.clock)

    @property
    def channels(self) -> dict[str, AnyChannel]:
        return {self.channel.capabilities.id: self.channel, **self.cashiers}

    def a_runner(self, **changes: Any) -> AttemptRunner:
        """One more worker of the same kind."""
        fields: dict[str, Any] = {
            "transactions": self.transactions,
            "claims": statements_of(self.database),
            "channels": self.channels,
            "clock": self.clock,
            "is_transient": is_transient,
            "limits": self.limits,
        }
        return AttemptRunner(**fields | changes)

    def a_request(self, **fields: Any) -> Message[PaymentRequested]:
        fields = {"expires_at": self.clock.now() + timedelta(minutes=30)} | fields
        return message(payment_requested(**fields))

    async def tell(self, *messages: Message[Any]) -> None:
        """Apply messages one after the other, as a consumer whose inbox is always empty."""
        for told in messages:
            await self.tell_together([told])

    async def tell_together(self, messages: Sequence[Message[Any]]) -> None:
        """Apply messages of one type in one transaction."""
        async with self.database.transaction() as unit:
            await self.consumer.reactions[type(messages[0].body)](unit, messages)

    async def open(self, **fields: Any) -> UUID:
        request = self.a_request(**fields)
        await self.tell(request)
        return request.body.payment_order_id

    async def open_many(self, count: int) -> list[UUID]:
        """In one transaction, as one batch."""
        requests = [self.a_request() for _ in range(count)]
        await self.tell_together(requests)
        return [request.body.payment_order_id for request in requests]

    async def run(self, runner: AttemptRunner | None = None) -> None:
        """Run what is due now, until nothing is; with a runner of the test's own only that one."""
        for each in [runner] if runner else [self.runner, self.late]:
            while await each.step():
                pass

    async def run_to_the_end(self) -> None:
        """Run, move the clock to the next due time, and so on until nothing is asked."""
        until = self.clock.now() + HORIZON
        while True:
            await self.run()
            await self.repeat_unexpected_money()
            await expire_orders(self.transactions, clock=self.clock)
            due_at = await self._next_due_at()
            if due_at is None or due_at > until:
                return
            self.clock.advance(max(due_at - self.clock.now(), timedelta(0)))

    async def repeat_unexpected_money(self) -> int:
        return await repeat_unexpected_money(self.transactions, clock=self.clock)

    async def turn(self, channel: str, *, is_stopped: bool) -> None:
        """Turn a kill switch."""
        switch = Switch(
            channel=channel,
            is_stopped=is_stopped,
            switched_by="an operator",
            why="a test",
            switched_at=self.clock.now(),
        )
        async with self.database.transaction() as unit:
            await PaymentUnit(unit).switches.turn(switch)

    async def hear(self, attempt_id: UUID, order_id: UUID, answer: Answer) -> None:
        """Verified news about an attempt that nobody asked for under a lease."""
        news = Answered(
            order_id=order_id,
            attempt_id=attempt_id,
            lease=None,
            call=Call.QUERY,
            answer=answer,
            asked_at=self.clock.now(),
        )
        async with self.transactions() as unit:
            await record_outcomes(unit, [news], channels=self.runner.channels, now=self.clock.now())

    async def _next_due_at(self) -> datetime | None:
        rows = await self.rows(
            "SELECT min(due_at) AS due_at FROM payment_attempt WHERE status <> 'SUCCEEDED'"
        )
        due_at: datetime | None = rows[0]["due_at"]
        return due_at

    async def rows(self, statement: str, **binds: Any) -> list[dict[str, Any]]:
        async with self.database.transaction() as unit:
            found = await unit.connection.execute(text(statement), binds)
            return [dict(row) for row in found.mappings()]

    async def rows_changed(self, statement: str, **binds: Any) -> None:
        """Change rows behind the back of the use cases."""
        async with self.database.transaction() as unit:
            await unit.connection.execute(text(statement), binds)

    async def order(self, order_id: UUID) -> dict[str, Any]:
        (row,) = await self.rows("SELECT * FROM payment_order WHERE id = :id", id=order_id)
        return row

    async def attempt(self, order_id: UUID) -> dict[str, Any]:
        (row,) = await self.rows("SELECT * FROM payment_attempt WHERE order_id = :id", id=order_id)
        return row

    async def items(self) -> list[str]:
        rows = await self.rows("SELECT kind FROM operator_item ORDER BY kind")
        return [row["kind"] for row in rows]

    async def business_state(self) -> dict[str, list[dict[str, Any]]]:
        """Every row of every business table."""
        return {
            table: await self.rows(f"SELECT * FROM {table} ORDER BY id")
            for table in BUSINESS_TABLES
        }

    async def told(self) -> list[Message[Event]]:
        """The outbox, in its order."""
        rows = await self.rows("SELECT headers, body FROM outbox ORDER BY id")
        return [
            decode([(k, v.encode()) for k, v in json.loads(row["headers"])], bytes(row["body"]))
            for row in rows
        ]

    async def told_types(self) -> list[str]:
        return [told.envelope.type for told in await self.told()]

    async def empty(self) -> None:
        """Forget everything, so that tests of one module do not meet."""
        await self.rows_changed(
            "TRUNCATE payment_order, payment_attempt, refund, outbox, outbox_queue,"
            " operator_item, channel_notification, refused_notification, return_token,"
            " channel_switch, channel_list"
        )


def asked_again(request: Message[PaymentRequested], *, sequence: int) -> Message[PaymentRequested]:
    """Billing's `PaymentOutcomeAsked` for this request."""
    body = payment_outcome_asked(after=request.body, ask_count=sequence - 1)
    return message(body, sequence=sequence, correlation_id=request.envelope.correlation_id)
