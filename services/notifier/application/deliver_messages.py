"""Deliver due SMS: first try, retry and recovery after a crash are this same step.

A row is committed as SUBMITTED before the first call. From then on the provider is asked by our
reference, and it is sent again only on "not there". No connection is held during a call.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from uuid import UUID

import msgspec
from msgspec.structs import replace

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
from shared.kernel.wording import Language

# Two waves of calls, each with its deadline of a few seconds, end well inside the lease.
WAVES = 2
LEASE_SECONDS = 30.0
UNKNOWN_ITEM = "sms_unknown"
# Nobody has told us another language yet.
SMS_LANGUAGE = Language.ZH

T = TypeVar("T")
R = TypeVar("R")


class Reached(msgspec.Struct, frozen=True):
    """A delivery and the phone it goes to."""

    delivery: Delivery
    phone: str


class DeliverMessages:
    """One step of the SMS loop; `ended` is told of every delivery that reached its end.

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
        self._calls_at_once = calls_at_once

    async def __call__(self) -> int:
        """Take what is due and move it on; returns how many rows it took."""
        claimed = await self._claim()
        decisions = await self._look(claimed)
        reached, put_offs = await self._reach([one.delivery for one in decisions if one.send])
        rest = [one for one in decisions if not one.send]
        to_send = await self._submit(claimed, [*rest, *put_offs], reached)
        await self._send(to_send)
        return len(claimed)

    async def _claim(self) -> list[Delivery]:
        async with self._statements() as unit:
            return await unit.notifications.claim_due(
                limit=WAVES * self._calls_at_once, lease_seconds=LEASE_SECONDS
            )

    async def _look(self, claimed: Sequence[Delivery]) -> list[Decision]:
        """Decide what each row needs; whatever was submitted before is asked for first."""
        submitted = [one for one in claimed if one.status is Status.SUBMITTED]
        answers = await self._all_at_once(submitted, lambda one: self._provider.ask(one.id))
        now = self._clock.now()
        asked = [
            after_ask(one, answer, now, self._schedule)
            for one, answer in zip(submitted, answers, strict=True)
        ]
        return asked + [self._first_look(one) for one in claimed if one.status is Status.QUEUED]

    def _first_look(self, delivery: Delivery) -> Decision:
        now = self._clock.now()
        withdrawn = withdrawal(delivery, now)
        if withdrawn is not None:
            return end(delivery, withdrawn, now)
        if waits_for_bill(delivery, now):
            return put_off(delivery, self._schedule)
        return Decision(delivery=delivery, due_seconds=None, send=True)

    async def _reach(self, deliveries: Sequence[Delivery]) -> tuple[list[Reached], list[Decision]]:
        """Find the phones; whoever cannot be reached now is put off."""
        phones = await self._all_at_once(deliveries, self._phone_of)
        reached, decisions = [], []
        for delivery, phone in zip(deliveries, phones, strict=True):
            if isinstance(phone, Unavailable):
                decisions.append(put_off(delivery, self._schedule))
            elif phone is None:
                decisions.append(self._nobody_there(delivery))
            else:
                reached.append(Reached(delivery, phone))
        return reached, decisions

    async def _phone_of(self, delivery: Delivery) -> str | Unavailable | None:
        try:
            return await self._contacts.phone_of(delivery.person_id)
        except Unavailable as error:
            return error

    def _nobody_there(self, delivery: Delivery) -> Decision:
        queued = delivery.status is Status.QUEUED
        status = Status.SUPPRESSED if queued else Status.UNDELIVERABLE
        return end(delivery, status, self._clock.now())

    async def _submit(
        self, claimed: Sequence[Delivery], decisions: Sequence[Decision], reached: Sequence[Reached]
    ) -> list[Reached]:
        """Commit the decisions and every send that is about to happen; returns those to send."""
        now = self._clock.now()
        submits = {
            one.delivery.id: submit(one.delivery, now, lease_seconds=LEASE_SECONDS)
            for one in reached
        }
        written = await self._save([*decisions, *submits.values()], claimed)
        return [
            replace(one, delivery=submits[one.delivery.id].delivery)
            for one in reached
            if one.delivery.id in written
        ]

    async def _send(self, reached: Sequence[Reached]) -> None:
        answers = await self._all_at_once(reached, self._send_one)
        now = self._clock.now()
        decisions = [
            after_send(one.delivery, answer, now, self._schedule)
            for one, answer in zip(reached, answers, strict=True)
        ]
        await self._save(decisions, [one.delivery for one in reached])

    async def _send_one(self, reached: Reached) -> Answer:
        sms = self._texts.sms(reached.delivery, SMS_LANGUAGE)
        return await self._provider.send(reached.delivery.id, reached.phone, sms)

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

    async def _all_at_once(self, items: Sequence[T], call: Callable[[T], Awaitable[R]]) -> list[R]:
        """Call for every item, a bounded number at a time; answers in the order of the items."""
        turn = asyncio.Semaphore(self._calls_at_once)

        async def one(item: T) -> R:
            async with turn:
                return await call(item)

        return await asyncio.gather(*(one(item) for item in items))
