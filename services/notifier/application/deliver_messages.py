"""Deliver due SMS as leased calls: first try, retry and recovery after a crash are this one loop.

Each row is looked at (asked for by our reference, or its phone found), committed as SUBMITTED, and
sent. From then on the provider is asked, and it is sent again only on "not there".
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

import msgspec

from services.notifier.application.ports import (
    Contacts,
    SmsProvider,
    Statements,
    Texts,
    Transactions,
)
from services.notifier.domain.deliveries import (
    Answer,
    Decision,
    Delivery,
    Schedule,
    after_ask,
    after_send,
    end,
    put_off,
    submit,
    waits_for_bill,
    withdrawal,
)
from services.notifier.domain.notifications import Status
from shared.kernel.clock import Clock
from shared.kernel.errors import Unavailable
from shared.kernel.leased_calls import Ended, LeasedCalls, Limits, Silence
from shared.kernel.wording import Language

# A look may ask the gateway and then identity; each has a deadline of its own within this.
CALL_SECONDS = 10.0
LEASE_SECONDS = 30.0
UNKNOWN_ITEM = "sms_unknown"
# Nobody has told us another language yet.
SMS_LANGUAGE = Language.ZH


class Step(msgspec.Struct, frozen=True):
    """A delivery under a lease: to be looked at, or sent to `phone`, for which it is submitted."""

    delivery: Delivery
    phone: str | None = None


class Finding(msgspec.Struct, frozen=True):
    """What becomes of a delivery; `phone` is where it is to be sent next."""

    decision: Decision
    phone: str | None = None


class DeliverMessages:
    """The SMS loop; `ended` is called with every delivery that reached its end.

    `statements` opens units for one statement each: most of what this loop writes is one.
    """

    def __init__(
        self,
        transactions: Transactions,
        *,
        statements: Statements,
        contacts: Contacts,
        provider: SmsProvider,
        texts: Texts,
        clock: Clock,
        schedule: Schedule,
        ended: Callable[[Delivery], None],
        is_transient: Callable[[BaseException], bool],
        calls_at_once: int = 8,
    ) -> None:
        self._transactions = transactions
        self._statements = statements
        self._contacts = contacts
        self._provider = provider
        self._texts = texts
        self._clock = clock
        self._schedule = schedule
        self._ended = ended
        self.calls = LeasedCalls(
            claim=self._claim,
            call=self._call,
            record=self._record,
            subject=lambda step: f"notification {step.delivery.id}",
            is_transient=is_transient,
            clock=clock,
            limits=Limits(
                concurrent_calls=calls_at_once,
                call_timeout_seconds=CALL_SECONDS,
                lease_seconds=LEASE_SECONDS,
            ),
        )

    async def step(self) -> int:
        """Take what is due, wait for some answers, record them; 0 where nothing is under way."""
        return await self.calls.step()

    async def drain(self) -> None:
        """Before the process ends: wait for the calls under way and record their answers."""
        await self.calls.drain()

    async def _claim(self, *, limit: int, lease: UUID, lease_time: timedelta) -> list[Step]:
        """The version of the row, which moves with each claim, is what names the lease."""
        seconds = lease_time.total_seconds()
        async with self._statements() as unit:
            claimed = await unit.notifications.claim_due(limit=limit, lease_seconds=seconds)
        return [Step(delivery) for delivery in claimed]

    async def _call(self, step: Step) -> Finding:
        if step.phone is not None:
            return await self._send(step.delivery, step.phone)
        decision = await self._look(step.delivery)
        return await self._reach(decision) if decision.send else Finding(decision)

    async def _look(self, delivery: Delivery) -> Decision:
        """What the row needs; whatever was submitted before is asked for first."""
        if delivery.status is Status.SUBMITTED:
            answer = await self._provider.ask(delivery.id)
            return after_ask(delivery, answer, self._clock.now(), self._schedule)
        now = self._clock.now()
        withdrawn = withdrawal(delivery, now)
        if withdrawn is not None:
            return end(delivery, withdrawn, now)
        if waits_for_bill(delivery, now):
            return put_off(delivery, self._schedule)
        return Decision(delivery=delivery, due_seconds=None, send=True)

    async def _reach(self, decision: Decision) -> Finding:
        """Find the phone; whoever cannot be reached now is put off."""
        delivery = decision.delivery
        try:
            phone = await self._contacts.phone_of(delivery.person_id)
        except Unavailable:
            return Finding(put_off(delivery, self._schedule))
        if phone is not None:
            return Finding(decision, phone)
        queued = delivery.status is Status.QUEUED
        status = Status.SUPPRESSED if queued else Status.UNDELIVERABLE
        return Finding(end(delivery, status, self._clock.now()))

    async def _send(self, delivery: Delivery, phone: str) -> Finding:
        sms = self._texts.sms(delivery, SMS_LANGUAGE)
        answer = await self._provider.send(delivery.id, phone, sms)
        return Finding(after_send(delivery, answer, self._clock.now(), self._schedule))

    async def _record(self, ended: Sequence[Ended[Step, Finding]]) -> list[Step]:
        """Commit what becomes of them; returns those submitted here, which are sent next."""
        findings = [self._finding(each) for each in ended]
        claimed = [each.due.delivery for each in ended]
        written = await self._save([each.decision for each in findings], claimed)
        return [
            Step(each.decision.delivery, each.phone)
            for each in findings
            if each.phone is not None and each.decision.delivery.id in written
        ]

    def _finding(self, ended: Ended[Step, Finding]) -> Finding:
        found = ended.answer
        if isinstance(found, Silence):
            return Finding(self._after_silence(ended.due))
        if found.phone is None:
            return found
        # Here, not when the phone was found: the pause before another send counts from now.
        delivery, now = found.decision.delivery, self._clock.now()
        return Finding(submit(delivery, now, lease_seconds=LEASE_SECONDS), found.phone)

    def _after_silence(self, step: Step) -> Decision:
        delivery, now = step.delivery, self._clock.now()
        if step.phone is not None:
            return after_send(delivery, Answer.NO_ANSWER, now, self._schedule)
        if delivery.status is Status.SUBMITTED:
            return after_ask(delivery, Answer.NO_ANSWER, now, self._schedule)
        return put_off(delivery, self._schedule)

    async def _save(self, decisions: Sequence[Decision], claimed: Sequence[Delivery]) -> set[UUID]:
        if not decisions:
            return set()
        items = {one.delivery.id: one.item for one in decisions if one.item is not None}
        if items:
            async with self._transactions() as unit:
                written = await unit.notifications.save_if_held(decisions, claimed)
                for delivery_id in items.keys() & written:
                    await unit.open_item(UNKNOWN_ITEM, delivery_id, items[delivery_id])
        else:
            async with self._statements() as statement:
                written = await statement.notifications.save_if_held(decisions, claimed)
        for decision in decisions:
            if decision.due_seconds is None and decision.delivery.id in written:
                self._ended(decision.delivery)
        return written
