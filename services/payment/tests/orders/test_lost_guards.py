"""A row that was decided on as it no longer is: nothing is stored, and it is no passing trouble."""

from collections.abc import Sequence
from uuid import UUID

import pytest
from msgspec.structs import replace

from services.payment.domain.failure_reason import FailureReason
from services.payment.domain.payment_order import fail
from services.payment.tests.world import World
from shared.kernel.errors import LostGuard
from shared.runtime.database.database import is_transient


async def test_an_order_that_is_not_as_it_was_read(world: World) -> None:
    order_id = await world.open()
    before = await world.business_state()

    with pytest.raises(LostGuard, match="0 of 1 rows of payment_order") as lost:
        await fail_as_read_before(world, order_id)

    assert not is_transient(lost.value)
    assert await world.business_state() == before


async def test_one_attempt_of_several_that_is_not_as_it_was_read(world: World) -> None:
    order_ids = await world.open_many(2)
    ids = [(await world.attempt(order_id))["id"] for order_id in order_ids]
    before = await world.business_state()

    with pytest.raises(LostGuard, match="1 of 2 rows of payment_attempt") as lost:
        await put_off_one_as_read_before(world, ids)

    assert not is_transient(lost.value)
    assert await world.business_state() == before


async def fail_as_read_before(world: World, order_id: UUID) -> None:
    async with world.transactions() as unit:
        order = (await unit.orders.lock([order_id]))[order_id]
        stale = replace(order, version=order.version - 1)
        await unit.orders.save([(stale, fail(stale, FailureReason.EXPIRED))])


async def put_off_one_as_read_before(world: World, ids: Sequence[UUID]) -> None:
    async with world.transactions() as unit:
        first, second = (await unit.attempts.lock(ids)).values()
        stale = replace(second, version=second.version + 1)
        changes = [(one, replace(one, due_at=one.expires_at)) for one in (first, stale)]
        await unit.attempts.save(changes)
