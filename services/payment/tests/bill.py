"""One bill in a `World`: its orders and attempts, its payer at the cashiers, and what must hold.

Billing's part is played by its rule: unexpected money pays what is still owed, else it goes back.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from services.payment.adapters.http.returns import ASK_PAUSE
from services.payment.adapters.postgres.unit import PaymentUnit
from services.payment.application.call_cashiers import CashierCalls
from services.payment.application.close_attempts import want_attempt_closed
from services.payment.application.expire_orders import expire_orders
from services.payment.application.hear_notifications import hear_notifications
from services.payment.application.ports import HeardNotification, PayerDetails
from services.payment.application.start_attempts import StartAttempt, open_attempt
from services.payment.domain.channel_answer import Succeeded
from services.payment.domain.channel_notification import RawNotification
from services.payment.domain.payment_attempt import Call
from services.payment.tests.fake_cashier import FakeCashier
from services.payment.tests.fake_channel import FakeChannel
from services.payment.tests.world import World
from shared.kernel.errors import Refused
from shared.kernel.events import PaymentSettled, decode
from shared.kernel.ids import new_id
from testing.builders import message, money_accepted, money_rejected

# More than any story needs until nothing moves any more.
ROUNDS_MAX = 30
Fake = FakeCashier | FakeChannel


@dataclass(kw_only=True)
class Bill:
    world: World
    contribution_id: UUID = field(default_factory=new_id)
    insured_person_id: UUID = field(default_factory=new_id)
    orders: list[UUID] = field(default_factory=list)
    # attempt → the cashier at which it began
    begun: dict[UUID, str] = field(default_factory=dict)

    @property
    def calls(self) -> CashierCalls:
        world = self.world
        return CashierCalls(
            transactions=world.transactions,
            channels=world.channels,
            clock=world.clock,
            limits=world.limits,
        )

    async def request(self, channel: str) -> UUID:
        """Another order for this bill."""
        order_id = await self.world.open(
            contribution_id=self.contribution_id,
            insured_person_id=self.insured_person_id,
            channel=channel,
        )
        self.orders.append(order_id)
        return order_id

    async def begin(self, channel: str) -> UUID | None:
        """Begin at a cashier, as the API does; None where that is refused."""
        world = self.world
        wanted = StartAttempt(
            order_id=self.orders[-1],
            channel=channel,
            method="wap",
            has_openid=False,
            attempt_id=new_id(),
        )
        capabilities = {id: each.capabilities for id, each in world.channels.items()}
        try:
            async with world.database.transaction() as unit:
                payment = PaymentUnit(unit)
                attempt_id = await open_attempt(
                    payment, wanted, channels=capabilities, now=world.clock.now()
                )
                due = await self.calls.take(payment, attempt_id, call=Call.START)
        except Refused:
            return None
        self.begun[attempt_id] = channel
        if due is not None:
            await self.calls.start(due, PayerDetails(method="wap"))
        return attempt_id

    async def give_up(self, attempt_id: UUID) -> None:
        """Close an attempt, as the API does; nothing where that is refused."""
        due = None
        try:
            async with self.world.database.transaction() as unit:
                payment = PaymentUnit(unit)
                order_id = (await payment.cashier_attempts.find([attempt_id]))[attempt_id].order_id
                if await want_attempt_closed(
                    payment, order_id=order_id, attempt_id=attempt_id, now=self.world.clock.now()
                ):
                    due = await self.calls.take(payment, attempt_id, call=Call.QUERY)
        except Refused:
            return
        if due is not None:
            await self.calls.close(due)

    async def come_back(self) -> None:
        """The payer says "I have paid" on the page that the cashier leads back to."""
        order_id, now = self.orders[-1], self.world.clock.now()
        async with self.world.transactions() as unit:
            await unit.orders.lock([order_id])
            await unit.cashier_attempts.ask_now(order_id, now=now, pause=ASK_PAUSE)

    async def hear(self, attempt_id: UUID, told: RawNotification) -> None:
        """A notification arrives, and what it says is verified and recorded."""
        channel = self.begun[attempt_id]
        heard = HeardNotification(
            channel=channel,
            notification=self.world.cashiers[channel].verify(told),
            attempt_id=attempt_id,
            body_sha256=b"",
            received_at=self.world.clock.now(),
        )
        async with self.world.transactions() as unit:
            await hear_notifications(
                unit, [heard], channels=self.world.channels, now=self.world.clock.now()
            )

    async def expire(self) -> None:
        await expire_orders(self.world.transactions, clock=self.world.clock)

    async def decide(self) -> int:
        """Billing decides about all unexpected money; returns about how many attempts."""
        undecided = await self._rows(
            "SELECT a.* FROM payment_attempt a JOIN payment_order o ON o.id = a.order_id"
            " WHERE o.contribution_id = :id AND unexpected_sequence > 0 AND decision IS NULL"
            " ORDER BY succeeded_at, a.id"
        )
        for attempt in undecided:
            orders = [order["status"] for order in await self.order_rows()]
            is_owed = "SETTLED" not in orders and "REQUESTED" not in orders
            decide = money_accepted if is_owed else money_rejected
            decision = decide(
                contribution_id=self.contribution_id,
                insured_person_id=self.insured_person_id,
                payment_order_id=attempt["order_id"],
                attempt_id=attempt["id"],
            )
            await self.world.tell(message(decision))
        return len(undecided)

    async def finish(self) -> None:
        """Time passes until nothing moves any more."""
        for _ in range(ROUNDS_MAX):
            await self.world.run_to_the_end()
            if not await self.decide():
                return
        raise AssertionError("it never came to rest")

    async def order_rows(self) -> list[dict[str, Any]]:
        return await self._rows(
            "SELECT * FROM payment_order WHERE contribution_id = :id ORDER BY opened_at, id"
        )

    async def attempt_rows(self) -> list[dict[str, Any]]:
        return await self._rows(
            "SELECT a.* FROM payment_attempt a JOIN payment_order o ON o.id = a.order_id"
            " WHERE o.contribution_id = :id ORDER BY a.created_at, a.id"
        )

    async def broken_promises(self) -> list[str]:
        """What must hold at every moment, and does not."""
        orders = {order["id"]: order for order in await self.order_rows()}
        attempts = await self.attempt_rows()
        settled = [order for order in orders.values() if order["status"] == "SETTLED"]
        broken = [f"{len(settled)} settled orders"] if len(settled) > 1 else []
        due = await self._refunds_with_items()
        for attempt in attempts:
            if attempt["received_fen"] is None:
                continue
            order = orders[attempt["order_id"]]
            settles = order["attempt_id"] == attempt["id"]
            waits = attempt["unexpected_sequence"] > 0 and attempt["decision"] is None
            if int(settles) + int(waits) + due[attempt["id"]] != 1:
                broken.append(f"kept without an item: {attempt}")
            if settles and attempt["received_fen"] != order["amount_fen"]:
                broken.append(f"settled by a wrong amount: {attempt}")
        return broken

    async def broken_promises_at_rest(self) -> list[str]:
        """What must hold when nothing moves any more, and does not."""
        broken = await self.broken_promises()
        orders, attempts = await self.order_rows(), await self.attempt_rows()
        broken += [f"open: {order}" for order in orders if order["status"] == "REQUESTED"]
        open_statuses = ("STARTED", "AWAITING_PAYER", "UNKNOWN")
        broken += [f"open: {each}" for each in attempts if each["status"] in open_statuses]
        taken = self._taken({attempt["id"].hex for attempt in attempts})
        recorded = {
            each["id"].hex: each["received_fen"] for each in attempts if each["received_fen"]
        }
        if taken != recorded:
            broken.append(f"the channels took {taken}, recorded is {recorded}")
        told, settled = await self._settlements_told(), [o["id"] for o in orders if o["settled_at"]]
        if told != Counter(settled):
            broken.append(f"settled are {settled}, told was {told}")
        return broken

    async def _settlements_told(self) -> Counter[UUID]:
        rows = await self.world.rows(
            "SELECT headers, body FROM outbox"
            " WHERE position(:id IN convert_from(body, 'UTF8')) > 0",
            id=str(self.contribution_id),
        )
        events = [
            decode([(k, v.encode()) for k, v in json.loads(row["headers"])], bytes(row["body"]))
            for row in rows
        ]
        return Counter(
            event.body.payment_order_id
            for event in events
            if isinstance(event.body, PaymentSettled)
        )

    def _taken(self, numbers: set[str]) -> dict[str, int]:
        """By the channels' own books: order number → fen."""
        channels = [*self.world.cashiers.values(), self.world.channel]
        books = [channel.book for channel in channels if isinstance(channel, Fake)]
        return {
            number: answer.amount.fen
            for book in books
            for number, answer in book.items()
            if number in numbers and isinstance(answer, Succeeded)
        }

    async def _refunds_with_items(self) -> Counter[UUID]:
        rows = await self._rows(
            "SELECT r.attempt_id FROM refund r JOIN payment_attempt a ON a.id = r.attempt_id"
            " JOIN payment_order o ON o.id = a.order_id"
            " JOIN operator_item i ON i.reference = r.id::text AND i.kind = 'refund_due'"
            " WHERE o.contribution_id = :id AND r.amount_fen = a.received_fen"
        )
        return Counter(row["attempt_id"] for row in rows)

    async def _rows(self, statement: str) -> list[dict[str, Any]]:
        return await self.world.rows(statement, id=self.contribution_id)
