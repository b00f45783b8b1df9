"""Asking again: every open order is asked about, ever more slowly, and a person is told."""

from datetime import timedelta

from services.billing.domain.payment_request import AskingPolicy
from services.billing.tests.builders import ASKING, NOW
from services.billing.tests.running_billing import Billing
from services.billing.tests.telling_payment import open_order
from shared.kernel.events import PaymentOutcomeAsked

SECONDS = timedelta(seconds=1)


async def test_nothing_is_asked_before_it_is_time(billing: Billing) -> None:
    order = await open_order(billing)

    await billing.ask(NOW + 29 * SECONDS)

    assert len(await billing.told(order.person_id)) == 2


async def test_silent_order_is_asked_about_with_the_whole_request(billing: Billing) -> None:
    order = await open_order(billing)

    await billing.ask(NOW + 30 * SECONDS)

    requested, asked = (await billing.told(order.person_id))[1:]
    assert isinstance(asked.body, PaymentOutcomeAsked)
    assert (asked.envelope.subject, asked.envelope.sequence, asked.body.ask_count) == (
        order.id,
        2,
        1,
    )
    same = [name for name in asked.body.__struct_fields__ if name != "ask_count"]
    assert [getattr(asked.body, name) for name in same] == [
        getattr(requested.body, name) for name in same
    ]
    assert asked.envelope.causation_id == requested.envelope.event_id


async def test_order_with_an_outcome_is_not_asked_about(billing: Billing) -> None:
    order = await open_order(billing)
    await billing.hear(order.settled())

    await billing.ask(NOW + timedelta(hours=1))

    assert len(await billing.told(order.person_id)) == 2


async def test_next_question_waits_twice_as_long(billing: Billing) -> None:
    order = await open_order(billing)
    await billing.ask(NOW + 30 * SECONDS)

    await billing.ask(NOW + 89 * SECONDS)
    early = (await billing.payment_request(order.id)).ask_count
    await billing.ask(NOW + 90 * SECONDS)

    assert (early, (await billing.payment_request(order.id)).ask_count) == (1, 2)


def test_delays_double_up_to_the_cap_and_stay_there() -> None:
    delays = [ASKING.delay(count) // SECONDS for count in (0, 1, 2, 3, 4, 5, 100, 10**6)]

    assert delays == [30, 60, 120, 240, 480, 600, 600, 600]


def test_cap_below_the_first_delay_holds() -> None:
    policy = AskingPolicy(first=30 * SECONDS, cap=10 * SECONDS, asks_before_item=1)

    assert policy.delay(0) == 10 * SECONDS


async def test_a_person_is_told_after_some_questions_and_asking_goes_on(billing: Billing) -> None:
    order = await open_order(billing)
    for number in range(10):
        await billing.ask(NOW + timedelta(hours=number + 1))

    items = await billing.rows(
        "SELECT kind FROM operator_item WHERE reference = :id", id=str(order.id)
    )

    assert [item["kind"] for item in items] == ["outcome_missing"]
    assert (await billing.payment_request(order.id)).ask_count == 10


async def test_behind_a_dead_letter_nothing_is_asked_and_an_item_is_opened(
    billing: Billing,
) -> None:
    order = await open_order(billing)
    await billing.execute(
        "INSERT INTO blocked_key (consumer, topic, key) VALUES"
        " ('billing', 'payment.orders', convert_to(:key, 'UTF8'))",
        key=str(order.person_id),
    )

    await billing.ask(NOW + timedelta(hours=1))

    items = await billing.rows(
        "SELECT kind FROM operator_item WHERE reference = :id", id=str(order.person_id)
    )
    assert [item["kind"] for item in items] == ["key_blocked"]
    assert (await billing.payment_request(order.id)).ask_count == 0
    assert len(await billing.told(order.person_id)) == 2


async def test_a_step_takes_everything_that_is_due_and_then_nothing(billing: Billing) -> None:
    for _ in range(3):
        await open_order(billing)

    first = await billing.ask(NOW + timedelta(days=2))
    second = await billing.ask(NOW + timedelta(days=2))

    assert first >= 3
    assert second == 0
