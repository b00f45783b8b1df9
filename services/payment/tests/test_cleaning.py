"""Cleaning: what strangers may write stays bounded, and a payer's way back goes when it is over."""

from datetime import timedelta
from hashlib import sha256

import pytest

from services.payment.adapters.postgres.refused_notifications import DELETED_MAX, delete_old
from services.payment.tests.building import CASHIER
from services.payment.tests.running_payment import Payment
from services.payment.tests.world import World

REFUSE = """
    INSERT INTO refused_notification
        (channel, reason, body_sha256, body_bytes, evidence, received_at)
    SELECT 'alipay', 'signature', sha256(convert_to(CAST(number AS text), 'UTF8')), 1, 'x',
           now() - CAST(:age AS interval)
    FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS number
"""


async def refuse(world: World, first: int, last: int, *, age: timedelta = timedelta(0)) -> None:
    await world.rows_changed(REFUSE, first=first, last=last, age=age)


async def kept(world: World) -> int:
    (found,) = await world.rows("SELECT count(*) AS rows FROM refused_notification")
    return int(found["rows"])


async def test_evidence_goes_when_its_time_is_over(world: World) -> None:
    await refuse(world, 1, 3, age=timedelta(days=91))
    await refuse(world, 4, 5, age=timedelta(days=89))

    assert await delete_old(world.database) == 0

    assert await kept(world) == 2


async def test_of_too_much_evidence_the_newest_stays(world: World) -> None:
    await refuse(world, 1, 30)

    assert await delete_old(world.database, kept=10) == 0

    (found,) = await world.rows(
        "SELECT count(*) AS rows, bool_or(body_sha256 = :oldest) AS has_oldest"
        " FROM refused_notification",
        oldest=sha256(b"1").digest(),
    )
    assert (found["rows"], found["has_oldest"]) == (10, False)


async def test_a_round_deletes_so_much_and_says_that_there_is_more(world: World) -> None:
    await refuse(world, 1, DELETED_MAX + 5)

    assert await delete_old(world.database, kept=0) == 1
    assert await kept(world) == 5

    assert await delete_old(world.database, kept=0) == 0
    assert await kept(world) == 0


@pytest.mark.parametrize(("hours_over", "left"), [(25, 0), (23, 1)])
async def test_a_way_back_is_forgotten_a_day_after_it_stopped_working(
    payment: Payment, hours_over: int, left: int
) -> None:
    order_id, payer_id = await payment.an_order(channel=CASHIER.id)
    await payment.start(order_id, payer_id)
    await payment.world.rows_changed(
        "UPDATE return_token SET expires_at = now() - CAST(:over AS interval)",
        over=timedelta(hours=hours_over),
    )

    await delete_old(payment.world.database)

    assert len(await payment.world.rows("SELECT * FROM return_token")) == left
