"""Any order of payers, channels, faults, notifications, loops and time, on the real tables.

`test_attempt_machine` holds the pure rules to the same promises; here are leases, guards, inbox,
refunds and items as they are stored.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from services.payment.domain.channel_answer import Succeeded
from services.payment.domain.channel_notification import NotificationRefused, RawNotification
from services.payment.domain.payment_attempt import Call
from services.payment.tests.bill import Bill
from services.payment.tests.building import AMOUNT, CASHIER, OTHER_CASHIER
from services.payment.tests.fake_cashier import FakeCashier
from services.payment.tests.fake_channel import FakeChannel
from services.payment.tests.world import World, some_clock
from shared.kernel.money import Money
from shared.runtime.database.database import Database, open_database

# Every build makes the same few runs; `make properties` draws the many that were promised.
DRAWN_RUNS = os.environ.get("SONGHE_BILL_RUNS")
# At half an hour each still less than the day for which ended attempts are asked about.
STEPS = 20
CASHIERS = (CASHIER.id, OTHER_CASHIER.id)
DIRECT_FAULTS = ("timeout_before_booking", "timeout_after_booking", "error_500", "decline")
PICKS = st.integers(0, 9)


class Bills(RuleBasedStateMachine):
    """One bill in an empty world; each rule is something that people, channels or time may do."""

    run_here: ClassVar[Callable[[Coroutine[Any, Any, Any]], Any]]
    database: ClassVar[Database]

    def __init__(self) -> None:
        super().__init__()
        clock = some_clock()
        self.direct = FakeChannel(clock=clock)
        self.world = World(
            database=self.database,
            channel=self.direct,
            clock=clock,
            cashiers={
                CASHIER.id: FakeCashier(clock=clock, opens_late=True),
                OTHER_CASHIER.id: FakeCashier(clock=clock, capabilities=OTHER_CASHIER),
            },
        )
        self.bill = Bill(world=self.world)
        self.notifications: list[tuple[UUID, RawNotification]] = []
        self._do(self.world.empty())

    @initialize(channels=st.permutations(CASHIERS), is_paid=st.booleans())
    def open_cashiers(self, channels: list[str], is_paid: bool) -> None:
        """Most of what can go wrong begins with two cashiers open and somebody who pays."""
        self.request(channels[0])
        for channel in channels:
            self.begin(channel)
        if is_paid:
            self.pay(0, is_exact=True)

    @rule(channel=st.sampled_from((*CASHIERS, "bank-direct-debit")))
    def request(self, channel: str) -> None:
        """Billing asks only while no order of the bill is open and none paid it."""
        statuses = {order["status"] for order in self._do(self.bill.order_rows())}
        if statuses <= {"FAILED"}:
            self._do(self.bill.request(channel))

    @precondition(lambda self: self.bill.orders)
    @rule(channel=st.sampled_from(CASHIERS))
    def begin(self, channel: str) -> None:
        self._do(self.bill.begin(channel))

    @precondition(lambda self: self.bill.begun)
    @rule(pick=PICKS, is_exact=st.sampled_from((True, True, False)))
    def pay(self, pick: int, is_exact: bool) -> None:
        """Also at a cashier that was closed: channels break that promise, and may not tell."""
        attempt_id, cashier = self._begun(pick)
        number = attempt_id.hex
        if number in cashier.amounts and not isinstance(cashier.book.get(number), Succeeded):
            answer = cashier.pay(number, amount=AMOUNT if is_exact else Money(1))
            told = cashier.notification(number, answer, notification_id=number)
            self.notifications.append((attempt_id, told))

    @precondition(lambda self: self.notifications)
    @rule(pick=PICKS, times=st.integers(1, 3))
    def notify(self, pick: int, times: int) -> None:
        attempt_id, told = self.notifications[pick % len(self.notifications)]
        for _ in range(times):
            self._do(self.bill.hear(attempt_id, told))

    @precondition(lambda self: self.bill.begun)
    @rule(pick=PICKS, is_forged=st.booleans())
    def lie(self, pick: int, is_forged: bool) -> None:
        """Nobody paid that: a forged signature is refused, a wrong amount must be asked about."""
        attempt_id, cashier = self._begun(pick)
        paid = Succeeded("T-false", Money(7), self.world.clock.now())
        told = cashier.notification(attempt_id.hex, paid)
        if is_forged:
            forged = RawNotification({"x-signature": "falsely"}, told.body)
            with pytest.raises(NotificationRefused):
                self._do(self.bill.hear(attempt_id, forged))
        elif self._is_open(attempt_id):
            self._do(self.bill.hear(attempt_id, told))

    @rule(
        channel=st.sampled_from(CASHIERS),
        kind=st.sampled_from(("unknown", "unknown_after", "decline")),
        call=st.sampled_from((Call.START, Call.QUERY, Call.CLOSE)),
    )
    def break_cashier(self, channel: str, kind: str, call: Call) -> None:
        self.world.cashiers[channel].inject(kind, on=call)

    @rule(kind=st.sampled_from(DIRECT_FAULTS), call=st.sampled_from((Call.START, Call.QUERY)))
    def break_bank(self, kind: str, call: Call) -> None:
        self.direct.inject(kind, on=call)

    @precondition(lambda self: self.bill.begun)
    @rule(pick=PICKS)
    def give_up(self, pick: int) -> None:
        self._do(self.bill.give_up(self._begun(pick)[0]))

    @precondition(lambda self: self.bill.orders)
    @rule()
    def come_back(self) -> None:
        """Paid or not, the payer says so: it only makes us ask."""
        self._do(self.bill.come_back())

    @rule()
    def work(self) -> None:
        """All loops run once over what is due."""
        self._do(self.world.run())
        self._do(self.world.repeat_unexpected_money())
        self._do(self.bill.expire())

    @rule()
    def decide(self) -> None:
        self._do(self.bill.decide())

    @rule(seconds=st.sampled_from((1, 5, 60, 300, 1860)))
    def pass_time(self, seconds: int) -> None:
        self.world.clock.advance(timedelta(seconds=seconds))

    @invariant()
    def nothing_is_kept_without_an_item_and_nothing_settles_twice(self) -> None:
        assert self._do(self.bill.broken_promises()) == []

    def teardown(self) -> None:
        """In the end every channel answers, and the books agree."""
        self.direct.faults.clear()
        for cashier in self.world.cashiers.values():
            cashier.faults.clear()
        self.world.clock.advance(timedelta(minutes=40))
        self._do(self.bill.finish())
        assert self._do(self.bill.broken_promises_at_rest()) == []

    def _begun(self, pick: int) -> tuple[UUID, FakeCashier]:
        attempt_id = list(self.bill.begun)[pick % len(self.bill.begun)]
        return attempt_id, self.world.cashiers[self.bill.begun[attempt_id]]

    def _is_open(self, attempt_id: UUID) -> bool:
        statuses = {row["id"]: row["status"] for row in self._do(self.bill.attempt_rows())}
        return statuses[attempt_id] in ("STARTED", "AWAITING_PAYER", "UNKNOWN")

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return type(self).run_here(work)


def test_bills_keep_their_promises_in_any_order_of_events(
    service_database: Callable[[str], str],
) -> None:
    with _running(service_database("payment")):
        run_state_machine_as_test(
            Bills,
            settings=settings(
                max_examples=int(DRAWN_RUNS or "10"),
                derandomize=DRAWN_RUNS is None,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                database=None,
                # On real tables a smaller example costs minutes; the first one tells enough.
                phases=(Phase.explicit, Phase.generate),
            ),
        )


@contextmanager
def _running(database_url: str) -> Iterator[None]:
    """One event loop and one database for all runs; the machine itself is synchronous."""
    with asyncio.Runner() as runner:
        database = open_database(database_url, source="payment", pool_size=3)
        Bills.run_here, Bills.database = runner.run, database
        try:
            yield
        finally:
            runner.run(database.close())
