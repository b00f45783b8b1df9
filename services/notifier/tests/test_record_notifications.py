"""Every event is told once, in every order of arrival, however often it comes."""

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from services.notifier.tests.world import A_DAY_AND_A_MINUTE, World
from shared.kernel.events import Message, PaymentDelayed, PaymentRequested
from shared.kernel.ids import new_id
from testing.builders import (
    contribution_assessed,
    payment_delayed,
    payment_failed,
    payment_refunded,
    payment_requested,
    payment_settled,
)


def _saga(world: World, **fields: Any) -> tuple[list[Message[Any]], list[Message[Any]]]:
    """One order's events, topic by topic: nobody knew, it failed, its money was accepted late."""
    assessed = contribution_assessed(**fields)
    requested = payment_requested(after=assessed, payer_id=assessed.insured_person_id)
    delayed = _delay(world, requested)
    failed = payment_failed(after=requested)
    settled = payment_settled(after=requested)
    return (
        [world.news(assessed), world.news(requested)],
        [
            world.news(delayed, sequence=2),
            world.news(failed, sequence=3),
            world.news(settled, sequence=4),
        ],
    )


def _delay(world: World, requested: PaymentRequested) -> PaymentDelayed:
    """No outcome by the promised time, and news by two hours from now."""
    promised = world.clock.now() + timedelta(hours=2)
    return payment_delayed(after=requested, next_update_by=promised)


def _interleavings(
    first: list[Message[Any]], second: list[Message[Any]]
) -> list[list[Message[Any]]]:
    """Every merge of both topics that keeps the order of each."""
    places = {tuple(order) for order in permutations([0] * len(first) + [1] * len(second))}
    merged = []
    for order in sorted(places):
        sources = [iter(first), iter(second)]
        merged.append([next(sources[topic]) for topic in order])
    return merged


async def test_all_interleavings_of_the_topics_end_in_the_same_state(world: World) -> None:
    contributions, orders = _saga(world)
    orderings = _interleavings(contributions, orders)
    states = []

    for messages in orderings:
        await world.empty()
        await world.tell(*messages)
        states.append(await world.business_state())

    assert len(orderings) == 10
    assert all(state == states[0] for state in states)
    assert await world.sms_states() == {"OVERTAKEN": 2, "QUEUED": 1}


async def test_the_outcomes_of_an_order_in_any_order_end_in_the_same_state(world: World) -> None:
    """Within the topic too: a record that was parked may be replayed behind later ones."""
    _, orders = _saga(world)
    states = []

    for messages in permutations(orders):
        await world.empty()
        await world.tell(*messages)
        states.append(await world.business_state())

    assert all(state == states[0] for state in states)
    assert await world.sms_states() == {"OVERTAKEN": 2, "QUEUED": 1}


@pytest.mark.parametrize("outcome", [payment_failed, payment_settled])
@pytest.mark.parametrize("delay_comes_first", [True, False])
async def test_still_checking_is_not_sent_once_the_outcome_is_known(
    world: World, outcome: Any, delay_comes_first: bool
) -> None:
    requested = _requested()
    delayed = world.news(_delay(world, requested), sequence=2)
    ended = world.news(outcome(after=requested), sequence=3)

    first, second = (delayed, ended) if delay_comes_first else (ended, delayed)
    await world.tell(world.news(requested), first, second)
    await world.deliver()

    assert await world.sms_states() == {"OVERTAKEN": 1, "DELIVERED": 1}
    (message,) = await world.messages_at_gateway()
    assert message["template"] != "payment_delayed"
    inbox = await world.rows("SELECT template FROM notification WHERE channel = 'inbox'")
    assert "payment_delayed" in {row["template"] for row in inbox}


async def test_an_outcome_withdraws_nothing_of_other_orders(world: World) -> None:
    delayed = world.news(_delay(world, _requested()), sequence=2)

    await world.tell(delayed, world.news(payment_failed(after=_requested()), sequence=2))

    assert await world.sms_states() == {"QUEUED": 2}


async def test_a_settlement_still_withdraws_a_failure_and_a_failure_no_settlement(
    world: World,
) -> None:
    requested = _requested()
    settled = world.news(payment_settled(after=requested), sequence=3)
    failed = world.news(payment_failed(after=requested), sequence=2)

    await world.tell(settled, failed)

    rows = await world.rows("SELECT template, status FROM notification WHERE channel = 'sms'")
    assert {row["template"]: row["status"] for row in rows} == {
        "payment_settled": "QUEUED",
        "payment_failed": "OVERTAKEN",
    }


async def test_still_checking_is_not_sent_behind_the_time_it_promises_news_by(
    world: World,
) -> None:
    delayed = world.news(_delay(world, _requested()), sequence=2)
    await world.tell(delayed)
    world.clock.advance(timedelta(hours=2))

    await world.deliver()

    assert await world.sms_states() == {"SUPPRESSED": 1}
    assert await world.messages_at_gateway() == []


def _requested() -> PaymentRequested:
    """Somebody pays for themselves."""
    assessed = contribution_assessed()
    return payment_requested(after=assessed, payer_id=assessed.insured_person_id)


async def test_a_replay_with_an_emptied_inbox_records_and_sends_nothing_again(
    world: World,
) -> None:
    contributions, orders = _saga(world)
    await world.tell(*contributions, *orders)
    await world.deliver()
    before = await world.business_state()
    messages = await world.messages_at_gateway()

    await world.tell(*reversed([*contributions, *orders]), *contributions, *orders)
    await world.deliver()

    assert await world.business_state() == before
    assert await world.messages_at_gateway() == messages
    assert len(messages) == 1


async def test_the_payer_is_told_too_where_somebody_else_pays(world: World) -> None:
    requested = payment_requested(insured_person_id=new_id(), payer_id=new_id())

    await world.tell(world.news(payment_settled(after=requested), sequence=2))

    rows = await world.rows("SELECT person_id, role, channel FROM notification")
    assert {(row["person_id"], row["role"], row["channel"]) for row in rows} == {
        (person, role, channel)
        for person, role in (
            (requested.insured_person_id, "insured"),
            (requested.payer_id, "payer"),
        )
        for channel in ("inbox", "sms")
    }


async def test_an_event_older_than_a_day_is_recorded_but_never_sent(world: World) -> None:
    requested = payment_requested()
    old = world.news(payment_settled(after=requested), sequence=2)
    world.clock.advance(A_DAY_AND_A_MINUTE)

    await world.tell(old)
    await world.deliver()

    assert set(await world.sms_states()) == {"SUPPRESSED"}
    assert await world.messages_at_gateway() == []
    inbox = await world.rows("SELECT status FROM notification WHERE channel = 'inbox'")
    assert {row["status"] for row in inbox} == {"DELIVERED"}


@pytest.mark.parametrize("body", [payment_failed, payment_refunded, payment_settled])
async def test_news_about_money_goes_out_by_sms(world: World, body: Any) -> None:
    await world.tell(world.news(body(after=payment_requested()), sequence=2))

    assert set(await world.sms_states()) == {"QUEUED"}


@pytest.mark.parametrize("body", [contribution_assessed, payment_requested])
async def test_other_news_stays_in_the_inbox(world: World, body: Any) -> None:
    await world.tell(world.news(body()))

    assert await world.sms_states() == {}
    assert len(await world.rows("SELECT id FROM notification")) >= 1
