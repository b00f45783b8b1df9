"""Open-loop load: requests payments of contributions at a rate, by billing's own code in sets.

    generator = Generator(database_url)          # billing's database
    await generator.assess(3000)                 # contributions, as they were assessed before
    history = await generator.run(rate=200, seconds=15)
    history.acknowledged                         # orders whose COMMIT was answered
    history.doubtful                             # the transaction failed: it may be either way

Arrivals have fixed times, whatever the system does; those that are due share one transaction.
An order's `created_at` is its arrival, so that waiting in the generator counts as latency.
`python -m testing.stacks.generator --database-url … --rate … --seconds … --history file`
does the same in a process of its own.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import uvloop

from services.billing.adapters.postgres.unit import BillingUnit
from services.billing.application.assess_contribution import tell_assessed
from services.billing.application.request_payment import RequestPayment, new_request
from services.billing.application.tell_payment import tell_requested
from services.billing.domain.assessment import Assessment, assess
from services.billing.domain.contribution import Contribution, await_payment, new_contribution
from services.billing.domain.payment_request import PaymentRequest
from services.billing.domain.standard import load_standards
from services.billing.settings import BillingSettings
from shared.kernel.clock import shanghai_month
from shared.kernel.ids import new_id
from shared.kernel.money import CURRENCY, Money
from shared.runtime.database.database import Database, open_database

REGION, SCHEME, BASE = "310000", "flexible", Money(1_000_000)
# What one transaction takes at most; more only makes the first of them wait.
SET_MAX = 200
ASSESS_SET = 500
TICK_SECONDS = 0.04


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One requested payment as the client knows it."""

    payment_order_id: UUID
    contribution_id: UUID
    insured_person_id: UUID
    amount_fen: int
    arrived_at: datetime


class History(msgspec.Struct, kw_only=True):
    """What the client was told. `late_seconds_max`: how far the generator itself fell behind.

    `cpu_seconds` is what its process has used since it started.
    """

    acknowledged: list[Order] = []
    doubtful: list[Order] = []
    began_at: datetime
    ended_at: datetime
    late_seconds_max: float = 0.0
    cpu_seconds: float = 0.0


@dataclass(slots=True)
class Generator:
    """Requests payments in one billing database; `connections` transactions at a time."""

    database_url: str
    connections: int = 1
    _database: Database = field(init=False)
    _assessed: list[UUID] = field(default_factory=list)
    _settings: BillingSettings = field(init=False)

    def __post_init__(self) -> None:
        url = self.database_url.replace("postgresql://", "postgresql+asyncpg://", 1)
        self._database = open_database(url, source="billing", pool_size=self.connections)
        self._settings = BillingSettings.model_construct()

    async def assess(self, count: int) -> None:
        """Assess contributions of as many people; they are requested in this order."""
        assessment = _assessment(datetime.now(UTC))
        for first in range(0, count, ASSESS_SET):
            contributions = [
                _contribution(assessment) for _ in range(min(ASSESS_SET, count - first))
            ]
            async with self._database.transaction() as unit:
                billing = BillingUnit(unit)
                await billing.contributions.insert(contributions)
                for contribution in contributions:
                    tell_assessed(billing, contribution)
            self._assessed += [contribution.id for contribution in contributions]

    async def run(self, *, rate: float, seconds: float) -> History:
        """Request `rate` payments per second for `seconds`; needs as many assessed before.

        A set whose transaction fails is doubtful and is not tried again.
        """
        count = round(rate * seconds)
        if count > len(self._assessed):
            raise ValueError(f"{count} orders need more than {len(self._assessed)} contributions")
        chosen, self._assessed = self._assessed[:count], self._assessed[count:]
        history = History(began_at=datetime.now(UTC), ended_at=datetime.now(UTC))
        load = _Load(chosen, rate, began_at=history.began_at, began=time.monotonic())
        async with asyncio.TaskGroup() as lanes:
            for _ in range(self.connections):
                lanes.create_task(self._lane(load, history))
        history.ended_at = datetime.now(UTC)
        history.cpu_seconds = time.process_time()
        return history

    async def close(self) -> None:
        await self._database.close()

    async def _lane(self, load: "_Load", history: History) -> None:
        while not load.is_over:
            tick_over = time.monotonic() + TICK_SECONDS
            if arrived := load.take():
                late = (datetime.now(UTC) - arrived[0][1]).total_seconds()
                history.late_seconds_max = max(history.late_seconds_max, late)
                await self._request(arrived, history)
            await asyncio.sleep(tick_over - time.monotonic())

    async def _request(self, arrived: Sequence[tuple[UUID, datetime]], history: History) -> None:
        requested: list[Order] = []
        try:
            async with self._database.transaction() as unit:
                requested += await self._request_in(BillingUnit(unit), arrived)
        except Exception:  # noqa: BLE001 - the client cannot know whether COMMIT arrived
            history.doubtful += requested
            await asyncio.sleep(TICK_SECONDS)
        else:
            history.acknowledged += requested

    async def _request_in(
        self, unit: BillingUnit, arrived: Sequence[tuple[UUID, datetime]]
    ) -> list[Order]:
        """The steps of `request_payment`, each for the whole set."""
        contributions = await unit.contributions.lock([cid for cid, _ in arrived])
        requests = [self._new_request(contributions[cid], at) for cid, at in arrived]
        owed = [contributions[request.contribution_id] for request in requests]
        await unit.contributions.save(
            [
                (contribution, await_payment(contribution, request.payment_order_id))
                for contribution, request in zip(owed, requests, strict=True)
            ]
        )
        await unit.payment_requests.insert(requests)
        for request in requests:
            tell_requested(unit, request)
        return [_order(request) for request in requests]

    def _new_request(self, contribution: Contribution, at: datetime) -> PaymentRequest:
        wanted = RequestPayment(
            contribution_id=contribution.id,
            payer_id=contribution.insured_person_id,
            channel=None,
            correlation_id=new_id(),
        )
        return new_request(
            contribution,
            wanted,
            now=at,
            asking=self._settings.asking,
            order_lifetime=self._settings.order_lifetime,
        )


@dataclass(slots=True)
class _Load:
    """Which arrivals are due, and which are already taken."""

    chosen: Sequence[UUID]
    rate: float
    began_at: datetime
    began: float
    taken: int = 0

    @property
    def is_over(self) -> bool:
        return self.taken >= len(self.chosen)

    def take(self) -> list[tuple[UUID, datetime]]:
        due = min(len(self.chosen), int((time.monotonic() - self.began) * self.rate) + 1)
        first, self.taken = self.taken, min(due, self.taken + SET_MAX)
        return [
            (self.chosen[n], self.began_at + timedelta(seconds=n / self.rate))
            for n in range(first, self.taken)
        ]


def _assessment(now: datetime) -> Assessment:
    return assess(
        load_standards(),
        scheme=SCHEME,
        region=REGION,
        period=shanghai_month(now),
        base=BASE,
        at=now,
    )


def _contribution(assessment: Assessment) -> Contribution:
    return new_contribution(
        assessment,
        contribution_id=new_id(),
        insured_person_id=new_id(),
        supersedes=None,
        correlation_id=new_id(),
        created_at=datetime.now(UTC),
        currency=CURRENCY,
    )


def _order(request: PaymentRequest) -> Order:
    return Order(
        payment_order_id=request.payment_order_id,
        contribution_id=request.contribution_id,
        insured_person_id=request.insured_person_id,
        amount_fen=request.amount.fen,
        arrived_at=request.created_at,
    )


async def _main(options: argparse.Namespace) -> None:
    generator = Generator(options.database_url, connections=options.connections)
    try:
        await generator.assess(round(options.rate * options.seconds))
        if options.wait:
            sys.stdout.write("assessed\n")
            sys.stdout.flush()
            await asyncio.to_thread(sys.stdin.readline)
        history = await generator.run(rate=options.rate, seconds=options.seconds)
    finally:
        await generator.close()
    options.history.write_bytes(msgspec.json.encode(history))


def read_history(file: Path) -> History:
    """What `--history` wrote."""
    return msgspec.json.decode(file.read_bytes(), type=History)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m testing.stacks.generator", description=__doc__)
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--rate", type=float, required=True, help="orders per second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--wait", action="store_true", help="say `assessed`, start at a line")
    parser.add_argument("--history", type=Path, required=True)
    uvloop.run(_main(parser.parse_args()))
