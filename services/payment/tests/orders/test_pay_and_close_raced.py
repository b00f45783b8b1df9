"""Payment and closing in every order of their steps: no money is kept without an item."""

import os
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import timedelta
from uuid import UUID

import pytest

from services.payment.application.ports import DueAttempt
from services.payment.domain.channel_answer import ChannelAnswer
from services.payment.tests.bill import Bill
from services.payment.tests.building import CASHIER, OTHER_CASHIER
from services.payment.tests.fake_cashier import FakeCashier
from services.payment.tests.turns import all_orders, barrier, play
from services.payment.tests.world import World
from shared.kernel.leased_calls import Limits

# Every order in `make properties`; in the usual run as many, drawn anew from the same seed.
ALL = os.environ.get("SONGHE_TEST_LONG") == "1"
DRAWN = 60


class SteppedCashier(FakeCashier):
    """A cashier at which a query and a close are steps of their own: before, done, and told."""

    async def query(self, due: DueAttempt) -> ChannelAnswer:
        await barrier()
        answer = await super().query(due)
        await barrier()
        return answer

    async def close(self, due: DueAttempt) -> ChannelAnswer:
        answer = await super().close(due)
        await barrier()
        return answer


@pytest.fixture
def stepped(world: World) -> World:
    """Real time must not decide: steps are as long as the test makes them."""
    for id, cashier in world.cashiers.items():
        world.cashiers[id] = SteppedCashier(clock=world.clock, capabilities=cashier.capabilities)
    world.limits = Limits()
    world.runner = world.a_runner()
    return world


async def test_a_bill_given_up_and_paid_at_two_cashiers_in_every_order(stepped: World) -> None:
    endings: Counter[str] = Counter()
    for order in _orders({"alipay": 2, "closer": 4, "wechatpay": 3}):
        bill, attempt_id = await _begun(stepped)

        await play(
            {
                "alipay": _pays(bill, attempt_id),
                "closer": bill.give_up(attempt_id),
                "wechatpay": _begins_and_pays(bill, OTHER_CASHIER.id),
            },
            order,
        )

        endings[await _judged(bill, order)] += 1
    # The orders differ in what they lead to, else they were no race.
    assert {"1 paid, 1 held", "1 paid, 0 held"} <= set(endings), endings


async def test_a_bill_paid_while_its_time_runs_out_in_every_order(stepped: World) -> None:
    endings: Counter[str] = Counter()
    for order in all_orders({"payer": 2, "worker": 5}):
        bill, attempt_id = await _begun(stepped)
        stepped.clock.advance(timedelta(minutes=30))

        await play(
            {"payer": _pays(bill, attempt_id), "worker": _runs_out_of_time(stepped, bill)}, order
        )

        endings[await _judged(bill, order)] += 1
    assert set(endings) == {"1 paid, 0 held", "1 paid late, 0 held"}, endings


def _orders(lengths: Mapping[str, int]) -> Iterable[tuple[str, ...]]:
    orders = list(all_orders(lengths))
    return orders if ALL else random.Random(6).sample(orders, DRAWN)


async def _begun(world: World) -> tuple[Bill, UUID]:
    bill = Bill(world=world)
    await bill.request(CASHIER.id)
    attempt_id = await bill.begin(CASHIER.id)
    assert attempt_id is not None
    return bill, attempt_id


async def _pays(bill: Bill, attempt_id: UUID) -> None:
    """Whatever the channel promised about closing: it takes the money, and later says so."""
    cashier = bill.world.cashiers[bill.begun[attempt_id]]
    answer = cashier.pay(attempt_id.hex)
    told = cashier.notification(attempt_id.hex, answer)
    await barrier()
    await bill.hear(attempt_id, told)


async def _begins_and_pays(bill: Bill, channel: str) -> None:
    attempt_id = await bill.begin(channel)
    await barrier()
    if attempt_id is not None:
        await _pays(bill, attempt_id)


async def _runs_out_of_time(world: World, bill: Bill) -> None:
    await world.run()
    await barrier()
    await bill.expire()


async def _judged(bill: Bill, order: tuple[str, ...]) -> str:
    """What came of it; asserts what must hold right after the race and at rest."""
    assert await bill.broken_promises() == [], order
    await bill.finish()
    assert await bill.broken_promises_at_rest() == [], order
    (row,) = await bill.order_rows()
    held = [
        each
        for each in await bill.attempt_rows()
        if each["received_fen"] and each["id"] != row["attempt_id"]
    ]
    assert row["status"] == "SETTLED", order
    late = " late" if row["failed_version"] else ""
    return f"1 paid{late}, {len(held)} held"
