"""Begin to pay at a cashier: the attempt, its lease, the channel's call, and what came of it.

The attempt and its lease are committed before the channel is called, no transaction is open
during the call. A number that the channel keeps for another first request (another payer, say) is
closed there, and its way begins once more under a new one.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from services.payment.application.call_cashiers import CashierCalls
from services.payment.application.close_attempts import want_attempt_closed
from services.payment.application.ports import DueAttempt, PayerDetails, Unit
from services.payment.application.start_attempts import StartAttempt, open_attempt
from services.payment.domain.channel import Capabilities
from services.payment.domain.next_action import OrderedOtherwise, Started
from services.payment.domain.payment_attempt import AttemptStatus, Call, PaymentAttempt
from shared.kernel.ids import new_id

# 192 bits from the system's source: not to be guessed by anybody who asks for ever.
RETURN_TOKEN_BYTES = 24
# People come back the next morning; after that they log in.
RETURN_LIFETIME = timedelta(hours=24)

# The payer's details, given the token of the way back.
Payer = Callable[[str], PayerDetails]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An attempt under our lease, and its payer's way back; the token is in no table."""

    due: DueAttempt
    return_token: str
    return_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The attempt that a request is about; `held` is None where it cannot be started now."""

    attempt_id: UUID
    held: Held | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The payer goes on by `started`; None where the channel says that it is paid already."""

    attempt: PaymentAttempt
    started: Started | None
    return_token: str
    return_until: datetime


class Why(StrEnum):
    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    CLOSED = "closed"
    BUSY = "busy"
    SILENT = "silent"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotBegun:
    """No page was given out; `was_called` tells whether the channel was asked for one."""

    why: Why
    attempt: PaymentAttempt
    was_called: bool


Beginning = Begun | NotBegun


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginner:
    """Opens and starts attempts at those of `channels` that `calls` can reach."""

    calls: CashierCalls
    channels: Mapping[str, Capabilities]

    async def open(self, unit: Unit, wanted: StartAttempt) -> Opened:
        """In the caller's transaction. Raises what `open_attempt` raises."""
        now = self.calls.clock.now()
        attempt_id = await open_attempt(unit, wanted, channels=self.channels, now=now)
        return await self.take(unit, attempt_id)

    async def take(self, unit: Unit, attempt_id: UUID) -> Opened:
        """The same attempt once more."""
        due = await self.calls.take(unit, attempt_id, call=Call.START)
        if due is None:
            return Opened(attempt_id=attempt_id, held=None)
        token = secrets.token_urlsafe(RETURN_TOKEN_BYTES)
        until = due.attempt.expires_at + RETURN_LIFETIME
        await unit.return_tokens.issue(token, order_id=due.attempt.order_id, expires_at=until)
        held = Held(due=due, return_token=token, return_until=until)
        return Opened(attempt_id=attempt_id, held=held)

    async def start(self, opened: Opened, wanted: StartAttempt, payer: Payer) -> Beginning:
        """Call the channel. Raises what `open_attempt` raises, where a new number is needed."""
        held = opened.held
        if held is None:
            return self._not_begun(await self._read(opened.attempt_id))
        answer = await self.calls.start(held.due, payer(held.return_token))
        if isinstance(answer, OrderedOtherwise) and wanted.instead_of is None:
            return await self._start_anew(replace(wanted, instead_of=opened.attempt_id), payer)
        started = answer if isinstance(answer, Started) else None
        attempt = await self._read(opened.attempt_id)
        return _beginning(attempt, started, held)

    async def _start_anew(self, wanted: StartAttempt, payer: Payer) -> Beginning:
        """Under a new number; the one before is closed at the channel first."""
        assert wanted.instead_of is not None
        due = None
        async with self.calls.transactions() as unit:
            is_open = await want_attempt_closed(
                unit,
                order_id=wanted.order_id,
                attempt_id=wanted.instead_of,
                now=self.calls.clock.now(),
            )
            if is_open:
                due = await self.calls.take(unit, wanted.instead_of, call=Call.QUERY)
        if due is not None:
            await self.calls.close(due)
        anew = replace(wanted, attempt_id=new_id())
        async with self.calls.transactions() as unit:
            opened = await self.open(unit, anew)
        return await self.start(opened, anew, payer)

    def _not_begun(self, attempt: PaymentAttempt) -> NotBegun:
        why = _ended_as(attempt)
        if why is None:
            is_given_up = attempt.shall_close(self.calls.clock.now())
            why = Why.CLOSED if is_given_up else Why.BUSY
        return NotBegun(why=why, attempt=attempt, was_called=False)

    async def _read(self, attempt_id: UUID) -> PaymentAttempt:
        async with self.calls.transactions() as unit:
            found = await unit.cashier_attempts.find([attempt_id])
        return found[attempt_id]


def _beginning(attempt: PaymentAttempt, started: Started | None, held: Held) -> Beginning:
    why = _ended_as(attempt)
    is_paid = why is Why.SUCCEEDED
    if why is Why.DECLINED or (started is None and not is_paid):
        return NotBegun(why=why or Why.SILENT, attempt=attempt, was_called=True)
    return Begun(
        attempt=attempt,
        started=None if is_paid else started,
        return_token=held.return_token,
        return_until=held.return_until,
    )


def _ended_as(attempt: PaymentAttempt) -> Why | None:
    match attempt.status:
        case AttemptStatus.SUCCEEDED:
            return Why.SUCCEEDED
        case AttemptStatus.DECLINED:
            return Why.DECLINED
        case AttemptStatus.CLOSED:
            return Why.CLOSED
        case _:
            return None
