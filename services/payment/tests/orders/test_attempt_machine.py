"""Any order of payers, cashiers, lies, losses and time: no money is lost and none settles twice."""

import os
from datetime import datetime, timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from services.payment.domain import payment_order
from services.payment.domain.channel_answer import (
    AwaitingPayer,
    ChannelAnswer,
    Closed,
    Declined,
    NotThere,
    Succeeded,
    Unknown,
    UnknownCause,
)
from services.payment.domain.failure_reason import FailureReason
from services.payment.domain.outcome import Asking, decide, settlement_by
from services.payment.domain.payment_attempt import (
    AttemptStatus,
    Call,
    MoneyDecision,
    PaymentAttempt,
    decided,
)
from services.payment.domain.payment_order import OrderStatus, PaymentOrder, accept_money
from services.payment.tests.building import AMOUNT, CASHIER, an_attempt, an_order
from shared.kernel.ids import new_id
from shared.kernel.money import Money
from testing.builders import SOME_TIME

NO_ANSWER = Unknown(UnknownCause.TIMEOUT)
ATTEMPTS_MAX = 3


class Cashiers(RuleBasedStateMachine):
    """`truth` is the channel's own book; we see of it only what an answer tells."""

    def __init__(self) -> None:
        super().__init__()
        self.now: datetime = SOME_TIME
        self.order: PaymentOrder = an_order()
        self.attempts: list[PaymentAttempt] = []
        self.truth: list[ChannelAnswer] = []
        # Where the channel took money after it had confirmed the close.
        self.broken: set[int] = set()
        self.refunds: set[object] = set()

    @rule(opens_late=st.booleans())
    def start(self, opens_late: bool) -> None:
        may_start = self.order.is_open and self.now < self.order.expires_at
        if not may_start or len(self.attempts) >= ATTEMPTS_MAX:
            return
        attempt = an_attempt(self.order, method="wap", created_at=self.now, first_sent_at=self.now)
        self.attempts.append(attempt)
        self.truth.append(NotThere() if opens_late else AwaitingPayer())

    @precondition(lambda self: self.attempts)
    @rule(pick=st.integers(0, ATTEMPTS_MAX - 1), is_exact=st.sampled_from([True, True, False]))
    def payer_pays(self, pick: int, is_exact: bool) -> None:
        """Before the expiry that the channel was told, as it keeps that itself."""
        which = pick % len(self.attempts)
        if not isinstance(self.truth[which], AwaitingPayer | NotThere):
            return
        if self.now < self.order.expires_at:
            amount = AMOUNT if is_exact else Money(1)
            self.truth[which] = Succeeded(f"T{which}", amount, self.now)

    @precondition(lambda self: self.attempts)
    @rule(pick=st.integers(0, ATTEMPTS_MAX - 1), is_exact=st.sampled_from([True, True, False]))
    def channel_breaks_its_word(self, pick: int, is_exact: bool) -> None:
        """It closed the attempt, and takes money all the same, within a day."""
        which = pick % len(self.attempts)
        if isinstance(self.truth[which], Closed):
            self.broken.add(which)
            amount = AMOUNT if is_exact else Money(1)
            self.truth[which] = Succeeded(f"T{which}", amount, self.now)

    @precondition(lambda self: self.attempts)
    @rule(pick=st.integers(0, ATTEMPTS_MAX - 1), is_lost=st.booleans())
    def late_ask(self, pick: int, is_lost: bool) -> None:
        """What the loop over ended attempts does when one is due."""
        which = pick % len(self.attempts)
        due_at = self.attempts[which].due_at
        if self._is_asked_late(which) and due_at is not None and due_at <= self.now:
            self._hear(which, NO_ANSWER if is_lost else self.truth[which], Call.QUERY)

    @precondition(lambda self: self.attempts)
    @rule(pick=st.integers(0, ATTEMPTS_MAX - 1))
    def payer_is_refused(self, pick: int) -> None:
        which = pick % len(self.attempts)
        if isinstance(self.truth[which], AwaitingPayer):
            self.truth[which] = Declined(FailureReason.INSUFFICIENT_FUNDS)

    @precondition(lambda self: self.attempts)
    @rule(pick=st.integers(0, ATTEMPTS_MAX - 1), is_lost=st.booleans())
    def query(self, pick: int, is_lost: bool) -> None:
        which = pick % len(self.attempts)
        if not self.attempts[which].is_open:
            return
        self._hear(which, NO_ANSWER if is_lost else self.truth[which], Call.QUERY)

    @precondition(lambda self: self.attempts)
    @rule(pick=st.integers(0, ATTEMPTS_MAX - 1), is_lost=st.booleans())
    def close(self, pick: int, is_lost: bool) -> None:
        which = pick % len(self.attempts)
        if not self.attempts[which].is_open:
            return
        if isinstance(self.truth[which], AwaitingPayer):
            self.truth[which] = Closed()
        self._hear(which, NO_ANSWER if is_lost else self.truth[which], Call.CLOSE)

    @precondition(lambda self: self.attempts)
    @rule(pick=st.integers(0, ATTEMPTS_MAX - 1), lies=st.sampled_from([False, False, True]))
    def notification(self, pick: int, lies: bool) -> None:
        """Early, late, again, or with an amount that is not true."""
        which = pick % len(self.attempts)
        truth = self.truth[which]
        if not isinstance(truth, Succeeded):
            return
        if lies and self.attempts[which].is_open:
            truth = replace(truth, amount=Money(2))
        self._hear(which, truth, Call.NOTIFICATION)

    @rule(minutes=st.sampled_from([1, 5, 31]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule()
    def expire(self) -> None:
        """What the expiry loop does."""
        is_over = self.order.is_open and self.now >= self.order.expires_at
        if is_over and not any(attempt.is_open for attempt in self.attempts):
            self.order = payment_order.fail(self.order, FailureReason.EXPIRED)

    @rule(is_owed=st.booleans())
    def billing_decides(self, is_owed: bool) -> None:
        for which, attempt in enumerate(self.attempts):
            if not attempt.awaits_decision:
                continue
            if is_owed and self.order.status is OrderStatus.FAILED:
                self.attempts[which] = decided(attempt, MoneyDecision.ACCEPTED)
                settlement = settlement_by(attempt)
                self.order = accept_money(self.order, settlement, event_id=new_id())
            else:
                self.attempts[which] = decided(attempt, MoneyDecision.REJECTED)
                self.refunds.add(attempt.id)

    @invariant()
    def every_receipt_is_settled_undecided_or_goes_back(self) -> None:
        settled_by = self.order.settlement.attempt_id if self.order.settlement else None
        for attempt in self.attempts:
            assert (attempt.status is AttemptStatus.SUCCEEDED) == (attempt.received is not None)
            if attempt.received is None:
                continue
            ways = [
                attempt.id == settled_by,
                attempt.awaits_decision,
                attempt.id in self.refunds,
            ]
            assert ways.count(True) == 1, (attempt, ways)
            if attempt.id == settled_by:
                assert attempt.received == self.order.amount

    @invariant()
    def nothing_is_closed_that_the_channel_may_still_take_money_by(self) -> None:
        for which, (attempt, truth) in enumerate(zip(self.attempts, self.truth, strict=True)):
            was_confirmed = isinstance(truth, Closed) or which in self.broken
            if attempt.status is AttemptStatus.CLOSED and not was_confirmed:
                assert attempt.not_there_count == 2
                assert self.now >= self.order.expires_at + timedelta(minutes=6)

    def teardown(self) -> None:
        """In the end every channel answers: nothing stays open, and all that was paid is known."""
        self.now = max(self.now, self.order.expires_at) + timedelta(minutes=6)
        for _ in range(3):
            self.now += timedelta(minutes=1)
            for which in range(len(self.attempts)):
                self.query(which, is_lost=False)
                self.close(which, is_lost=False)
        self.expire()
        assert not self.order.is_open
        for which in range(len(self.attempts)):
            while self._is_asked_late(which):
                self.now = max(self.now, self.attempts[which].due_at or self.now)
                self.late_ask(which, is_lost=False)
        for attempt, truth in zip(self.attempts, self.truth, strict=True):
            assert not attempt.is_open
            assert (attempt.received is not None) == isinstance(truth, Succeeded)
        self.every_receipt_is_settled_undecided_or_goes_back()

    def _is_asked_late(self, which: int) -> bool:
        attempt = self.attempts[which]
        is_over = not attempt.is_open and attempt.received is None
        return is_over and attempt.due_at is not None

    def _hear(self, which: int, answer: ChannelAnswer, call: Call) -> None:
        asking = Asking(call=call, channel=CASHIER, asked_at=self.now, now=self.now)
        before = self.order.settlement
        outcome = decide(self.order, self.attempts[which], answer, asking)
        if outcome.refund is not None:
            assert len(outcome.items) == 2
            self.refunds.add(outcome.refund.attempt_id)
        assert before is None or outcome.order.settlement == before
        self.order, self.attempts[which] = outcome.order, outcome.attempt


TestCashiers = Cashiers.TestCase
# Every build makes the same 100 runs; `make properties` draws the many that were promised.
DRAWN_RUNS = os.environ.get("SONGHE_MACHINE_RUNS")
TestCashiers.settings = settings(
    max_examples=int(DRAWN_RUNS or "100"),
    derandomize=DRAWN_RUNS is None,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
