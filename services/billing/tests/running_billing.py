"""Billing's use cases on a real database, and what tests read back from it."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.billing.adapters.consumer import REACTIONS
from services.billing.adapters.postgres.unit import BillingUnit
from services.billing.application.ask_for_outcomes import ask_for_outcomes
from services.billing.application.assess_contribution import (
    AssessContribution,
    assess_contribution,
)
from services.billing.application.request_payment import RequestPayment, request_payment
from services.billing.domain.contribution import Contribution
from services.billing.domain.payment_request import PaymentRequest
from services.billing.domain.standard import load_standards
from services.billing.tests.builders import ASKING, FLOOR, NOW, ORDER_LIFETIME
from shared.kernel.events import Event, Message, decode
from shared.kernel.ids import new_id
from shared.kernel.money import Money
from shared.runtime.database.database import Database
from shared.runtime.database.statements import text

STANDARDS = load_standards()
BUSINESS_TABLES = ("contribution", "payment_request", "money_decision", "refund", "channel_list")


class Billing:
    """Each method is one transaction, like a request or a batch."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def assess(
        self,
        person_id: UUID,
        *,
        base: Money = FLOOR,
        region: str = "310000",
        now: datetime = NOW,
    ) -> tuple[Contribution, bool]:
        wanted = AssessContribution(
            insured_person_id=person_id,
            scheme="flexible",
            region=region,
            period="2026-11",
            base=base,
            correlation_id=new_id(),
        )
        async with self.database.transaction() as unit:
            return await assess_contribution(
                BillingUnit(unit), wanted, standards=STANDARDS, now=now
            )

    async def request(
        self,
        contribution: Contribution,
        *,
        channel: str | None = "bank-direct-debit",
        payer_id: UUID | None = None,
        now: datetime = NOW,
    ) -> PaymentRequest:
        wanted = RequestPayment(
            contribution_id=contribution.id,
            payer_id=payer_id or contribution.insured_person_id,
            channel=channel,
            correlation_id=new_id(),
        )
        async with self.database.transaction() as unit:
            _, request = await request_payment(
                BillingUnit(unit),
                wanted,
                standards=STANDARDS,
                asking=ASKING,
                order_lifetime=ORDER_LIFETIME,
                now=now,
            )
            return request

    async def requested(self) -> tuple[Contribution, PaymentRequest]:
        """A new person's contribution with an open order."""
        contribution, _ = await self.assess(new_id())
        return contribution, await self.request(contribution)

    async def hear(self, *messages: Message[Any]) -> None:
        """React to facts, one transaction each; without any inbox."""
        for message in messages:
            async with self.database.transaction() as unit:
                await REACTIONS[type(message.body)](unit, [message])

    async def ask(self, now: datetime) -> int:
        async with self.database.transaction() as unit:
            return await ask_for_outcomes(BillingUnit(unit), asking=ASKING, now=now)

    async def contribution(self, contribution_id: UUID) -> Contribution:
        async with self.database.transaction() as unit:
            return (await BillingUnit(unit).contributions.lock([contribution_id]))[contribution_id]

    async def payment_request(self, order_id: UUID) -> PaymentRequest:
        async with self.database.transaction() as unit:
            return (await BillingUnit(unit).payment_requests.lock([order_id]))[order_id]

    async def told(self, person_id: UUID) -> list[Message[Event]]:
        """Everything emitted about a person, in outbox order."""
        rows = await self.rows(
            "SELECT headers, body FROM outbox WHERE key = :key ORDER BY id", key=str(person_id)
        )
        return [_decoded(row["headers"], bytes(row["body"])) for row in rows]

    async def business_state(self) -> dict[str, list[Any]]:
        """Every business row as text, to compare before and after."""
        return {
            table: [row["line"] for row in await self.rows(_as_text(table))]
            for table in BUSINESS_TABLES
        }

    async def rows(self, statement: str, **values: Any) -> Sequence[Any]:
        async with self.database.transaction() as unit:
            return (await unit.connection.execute(text(statement), values)).mappings().all()

    async def execute(self, statement: str, **values: Any) -> None:
        async with self.database.transaction() as unit:
            await unit.connection.execute(text(statement), values)


def _as_text(table: str) -> str:
    return f"SELECT CAST({table} AS text) AS line FROM {table} ORDER BY 1"


def _decoded(headers: str, body: bytes) -> Message[Event]:
    return decode([(name, value.encode()) for name, value in json.loads(headers)], body)
