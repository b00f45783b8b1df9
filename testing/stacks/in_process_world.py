"""The outside world in core mode: it answers in process, at once, and writes the book first.

The ports are payment's `Channel` and the notifier's `SmsProvider` and `Contacts`; everything
behind them is the product.
"""

import os
from datetime import UTC, datetime
from uuid import UUID

from services.notifier.application.ports import SmsText
from services.notifier.domain.deliveries import Answer
from services.payment.adapters.bank.direct_debit import BANK_DIRECT_DEBIT
from services.payment.application.ports import DueAttempt
from services.payment.domain.channel import Capabilities
from services.payment.domain.channel_answer import ChannelAnswer, NotThere, Succeeded
from shared.kernel.money import Money
from testing.stacks.book import Book, Charge, Sms

# Everybody's phone, as if it had been looked up a moment ago.
PHONE = "+8613800000000"


class InProcessChannel:
    """Charges every attempt once, under the name and with the abilities of the test bank."""

    def __init__(self, book: Book) -> None:
        self._charges = book.charges

    @property
    def capabilities(self) -> Capabilities:
        return BANK_DIRECT_DEBIT

    async def start(self, due: DueAttempt) -> ChannelAnswer:
        attempt = due.attempt
        charge = Charge(
            id=attempt.id, amount_fen=attempt.amount.fen, at=datetime.now(UTC), pid=os.getpid()
        )
        return _succeeded(self._charges.write(charge))

    async def query(self, due: DueAttempt) -> ChannelAnswer:
        charge = self._charges.find(due.attempt.id)
        return NotThere() if charge is None else _succeeded(charge)


class InProcessGateway:
    """Delivers every message at once, and says so."""

    def __init__(self, book: Book) -> None:
        self._messages = book.messages

    async def send(self, reference: UUID, phone: str, sms: SmsText) -> Answer:
        self._messages.write(
            Sms(id=reference, template=sms.template, at=datetime.now(UTC), pid=os.getpid())
        )
        return Answer.DELIVERED

    async def ask(self, reference: UUID) -> Answer:
        known = self._messages.find(reference)
        return Answer.NOT_FOUND if known is None else Answer.DELIVERED


class KnownContacts:
    """Contacts that are prefilled: nobody has to be asked."""

    async def phone_of(self, person_id: UUID) -> str | None:
        return PHONE


def _succeeded(charge: Charge) -> Succeeded:
    return Succeeded(charge.trade_no, Money(charge.amount_fen), charge.at)
