"""An SMS goes out once as far as the gateway can be asked, whatever breaks in between."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from services.notifier.adapters.postgres.unit import statements_of, transactions_of
from services.notifier.adapters.sms.provider import HttpSmsProvider
from services.notifier.domain.deliveries import end
from services.notifier.domain.notifications import Status
from services.notifier.tests.world import (
    DyingProvider,
    ProcessDied,
    SlowProvider,
    World,
    phone_number,
)
from shared.kernel.clock import SHANGHAI
from shared.kernel.errors import LostGuard
from shared.kernel.events import PaymentSettled
from shared.kernel.leased_calls import Limits
from shared.runtime.database.database import is_transient
from testing.builders import (
    contribution_assessed,
    payment_delayed,
    payment_requested,
    payment_settled,
)


async def _settled(world: World) -> PaymentSettled:
    """Somebody's order was settled, and the notifier knows which month it was for."""
    assessed = contribution_assessed()
    requested = payment_requested(after=assessed, payer_id=assessed.insured_person_id)
    settled = payment_settled(after=requested)
    await world.tell(world.news(requested), world.news(settled, sequence=2))
    return settled


async def test_an_sms_is_delivered_with_amount_and_month(world: World) -> None:
    settled = await _settled(world)

    await world.deliver()

    assert await world.sms_states() == {"DELIVERED": 1}
    (message,) = await world.messages_at_gateway()
    assert message["phone"] == phone_number(settled.insured_person_id)
    assert message["template"] == "payment_settled"
    assert message["text"].startswith("【松鹤】")
    assert [delivery.status for delivery in world.ended] == ["DELIVERED"]


async def test_a_row_that_somebody_took_over_is_left_to_them_unless_it_is_locked(
    world: World,
) -> None:
    await _settled(world)
    async with transactions_of(world.database)() as unit:
        (claimed,) = await unit.notifications.claim_due(limit=1, lease_seconds=0)
    async with transactions_of(world.database)() as unit:
        (taken_over,) = await unit.notifications.claim_due(limit=1, lease_seconds=30)
    late = end(claimed, Status.SUPPRESSED, world.clock.now())

    async with transactions_of(world.database)() as unit:
        assert await unit.notifications.save_if_held([late], [claimed]) == set()
    with pytest.raises(LostGuard, match="notification") as lost:
        async with transactions_of(world.database)() as unit:
            await unit.notifications.save([(claimed, late)])

    assert not is_transient(lost.value)
    assert (taken_over.id, taken_over.version) == (claimed.id, claimed.version + 1)
    assert await world.sms_states() == {"QUEUED": 1}


async def test_a_single_statement_has_no_item_beside_it(world: World) -> None:
    async with statements_of(world.database)() as unit:
        assert not hasattr(unit, "open_item")


@pytest.mark.parametrize("kind", ["timeout_before_booking", "timeout_after_booking", "error_500"])
async def test_whatever_the_gateway_does_one_sms_arrives(world: World, kind: str) -> None:
    await _settled(world)
    await world.fault(kind)

    await world.deliver()

    assert await world.sms_states() == {"DELIVERED": 1}
    assert len(await world.messages_at_gateway()) == 1


async def test_a_gateway_that_is_silent_to_queries_is_not_sent_to_again(world: World) -> None:
    await _settled(world)
    await world.fault("timeout_after_booking")
    await world.fault("error_500", on="query", count=3)

    await world.deliver()

    assert await world.sms_states() == {"DELIVERED": 1}
    assert len(await world.messages_at_gateway()) == 1


@pytest.mark.parametrize("before_sending", [True, False])
async def test_after_a_crash_behind_submitted_the_gateway_is_asked_first(
    world: World, before_sending: bool
) -> None:
    await _settled(world)
    dying = world.deliverer(DyingProvider(world.provider, before_sending=before_sending))
    with pytest.raises(ProcessDied):
        await world.deliver(dying)
    assert await world.sms_states() == {"SUBMITTED": 1}

    await world.let_leases_run_out()
    await world.deliver()

    assert await world.sms_states() == {"DELIVERED": 1}
    assert len(await world.messages_at_gateway()) == 1


async def test_still_checking_goes_out_with_the_next_promised_time(world: World) -> None:
    promised = world.clock.now() + timedelta(hours=2)
    requested = payment_requested()
    delayed = payment_delayed(after=requested, next_update_by=promised)
    await world.tell(world.news(requested), world.news(delayed, sequence=2))

    await world.deliver()

    messages = await world.messages_at_gateway()
    assert {message["template"] for message in messages} == {
        "payment_delayed",
        "payment_delayed_payer",
    }
    clock = f"{promised.astimezone(SHANGHAI):%H:%M}再告诉您"
    assert all(clock in message["text"] for message in messages)


async def test_a_number_that_cannot_be_reached_ends_as_undeliverable(world: World) -> None:
    await _settled(world)
    await world.fault("decline")

    await world.deliver()

    assert await world.sms_states() == {"UNDELIVERABLE": 1}


async def test_a_gateway_that_forgets_every_message_ends_with_an_item(world: World) -> None:
    await _settled(world)
    await world.fault("timeout_before_booking", count=None)

    await world.deliver()

    assert await world.sms_states() == {"UNKNOWN": 1}
    items = await world.rows("SELECT kind FROM operator_item WHERE closed_at IS NULL")
    assert [item["kind"] for item in items] == ["sms_unknown"]
    sends = await world.rows("SELECT send_count FROM notification WHERE channel = 'sms'")
    assert sends[0]["send_count"] == 3


async def test_while_identity_is_down_the_sms_waits(world: World) -> None:
    await _settled(world)
    world.phones.is_down = True
    deliverer = world.deliverer()

    await deliverer.step()
    await deliverer.drain()
    waiting = await world.sms_states()
    world.phones.is_down = False
    await world.deliver()

    assert waiting == {"QUEUED": 1}
    assert await world.sms_states() == {"DELIVERED": 1}


async def test_nobody_to_reach_is_suppressed_not_tried_for_ever(world: World) -> None:
    settled = await _settled(world)
    world.phones.unknown = {settled.insured_person_id}

    await world.deliver()

    assert await world.sms_states() == {"SUPPRESSED": 1}


async def test_two_workers_at_once_send_one_sms(world: World) -> None:
    for _ in range(10):
        await _settled(world)

    for _ in range(3):
        await asyncio.gather(world.deliver(), world.deliver())
    await world.deliver()

    assert await world.sms_states() == {"DELIVERED": 10}
    assert len(await world.messages_at_gateway()) == 10


async def test_a_slow_call_holds_up_no_other(world: World) -> None:
    for _ in range(20):
        await _settled(world)
    slow = SlowProvider()
    deliverer = world.deliverer(slow)
    # So that no busy machine comes to the deadline.
    deliverer.calls.limits = Limits(
        concurrent_calls=8, call_timeout_seconds=60.0, lease_seconds=180.0
    )

    while len(world.ended) < 19:
        await deliverer.step()
    while_it_waits = await world.sms_states()
    is_waiting = slow.is_waiting
    slow.gate.set()
    await world.deliver(deliverer)

    assert is_waiting
    assert while_it_waits == {"DELIVERED": 19, "SUBMITTED": 1}
    assert slow.waiting not in {delivery.id for delivery in world.ended[:19]}
    assert await world.sms_states() == {"DELIVERED": 20}


async def test_an_sms_that_cannot_be_stored_holds_up_no_other(world: World) -> None:
    for _ in range(3):
        await _settled(world)
    await world.let_one_count_no_further()

    await world.deliver()

    assert await world.sms_states() == {"DELIVERED": 2, "QUEUED": 1}


async def test_before_the_end_calls_under_way_are_recorded(world: World) -> None:
    await _settled(world)
    slow = SlowProvider()
    deliverer = world.deliverer(slow)
    while slow.waiting is None:
        await deliverer.step()

    slow.gate.set()
    await deliverer.drain()

    assert await world.sms_states() == {"DELIVERED": 1}


async def test_a_gateway_that_is_gone_is_no_answer() -> None:
    provider = HttpSmsProvider("http://127.0.0.1:9")

    assert await provider.ask(uuid4()) == "no_answer"
    await provider.close()
