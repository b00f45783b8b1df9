"""What payment does on billing's events: opened once, in any order, however often they come."""

import itertools
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.payment.domain.channel_answer import Succeeded
from services.payment.tests.fake_channel import FakeChannel
from services.payment.tests.world import World, asked_again
from shared.kernel.errors import Contradiction, Malformed
from shared.kernel.events import Message, MoneyAccepted, MoneyRejected
from shared.kernel.ids import derived_id, new_id
from shared.kernel.money import Money
from testing.builders import message, money_accepted, money_rejected


async def test_a_request_told_twice_opens_one_order_with_one_attempt(world: World) -> None:
    request = world.a_request()

    await world.tell(request, request)

    state = await world.business_state()
    assert len(state["payment_order"]) == len(state["payment_attempt"]) == 1


async def test_a_batch_opens_every_order_in_it(world: World) -> None:
    known = world.a_request()
    await world.tell(known)

    await world.tell_together([world.a_request(), known, world.a_request()])

    assert len((await world.business_state())["payment_order"]) == 3


async def test_a_request_after_its_expiry_fails_without_an_attempt(world: World) -> None:
    order_id = await world.open(expires_at=world.clock.now())

    order = await world.order(order_id)
    assert (order["status"], order["reason"]) == ("FAILED", "expired")
    assert await world.rows("SELECT * FROM payment_attempt") == []
    assert await world.told_types() == ["PaymentFailed"]


async def test_a_request_without_a_channel_takes_the_default_one(world: World) -> None:
    order_id = await world.open(channel=None)

    assert (await world.order(order_id))["channel"] == "bank-direct-debit"


async def test_a_request_for_a_channel_that_nobody_runs_fails_at_once(world: World) -> None:
    order_id = await world.open(channel="carrier-pigeon")

    assert (await world.order(order_id))["reason"] == "channel_unavailable"
    assert await world.told_types() == ["PaymentFailed"]


async def test_a_second_open_order_of_a_contribution_is_a_contradiction(world: World) -> None:
    first = world.a_request()
    second = world.a_request(contribution_id=first.body.contribution_id)
    await world.tell(first)

    with pytest.raises(Contradiction):
        await world.tell(second)
    with pytest.raises(Contradiction):
        await world.tell(asked_again(second, sequence=2))

    assert len((await world.business_state())["payment_order"]) == 1


async def test_a_contribution_may_have_another_order_after_the_first_has_failed(
    world: World, bank: FakeChannel
) -> None:
    first = world.a_request()
    bank.inject("decline")
    await world.tell(first)
    await world.run()

    await world.tell(world.a_request(contribution_id=first.body.contribution_id))
    await world.run()

    rows = await world.rows("SELECT status FROM payment_order ORDER BY opened_at, status")
    assert sorted(row["status"] for row in rows) == ["FAILED", "SETTLED"]


async def test_no_money_is_malformed(world: World) -> None:
    with pytest.raises(Malformed):
        await world.tell(world.a_request(amount_fen=0))


async def test_an_ask_opens_the_order_when_the_request_was_lost(world: World) -> None:
    request = world.a_request()

    await world.tell(asked_again(request, sequence=2), request)
    await world.run()

    assert (await world.order(request.body.payment_order_id))["status"] == "SETTLED"
    assert len(await world.rows("SELECT * FROM payment_attempt")) == 1


async def test_an_ask_about_an_open_order_tells_nothing(world: World) -> None:
    request = world.a_request()
    await world.tell(request, asked_again(request, sequence=2))

    assert await world.told() == []
    assert (await world.order(request.body.payment_order_id))["last_ask_sequence"] == 2


async def test_an_ask_about_a_finished_order_repeats_its_outcome_with_the_original_id(
    world: World,
) -> None:
    request = world.a_request()
    await world.tell(request)
    await world.run()
    await world.rows_changed("DELETE FROM outbox_queue")

    await world.tell(asked_again(request, sequence=2))

    (row,) = await world.rows("SELECT * FROM outbox")
    assert row["resend_at"] is not None


async def test_an_ask_told_again_repeats_nothing(world: World) -> None:
    request = world.a_request()
    await world.tell(request)
    await world.run()
    await world.tell(asked_again(request, sequence=3))
    state = await world.business_state()
    await world.rows_changed("UPDATE outbox SET resend_at = NULL")

    await world.tell(asked_again(request, sequence=3), asked_again(request, sequence=2))

    (row,) = await world.rows("SELECT * FROM outbox")
    assert row["resend_at"] is None
    assert await world.business_state() == state


@pytest.mark.parametrize("fault", [None, "decline"])
async def test_an_outcome_that_retention_removed_is_told_from_the_row_identically(
    world: World, bank: FakeChannel, fault: str | None
) -> None:
    if fault:
        bank.inject(fault)
    request = world.a_request()
    await world.tell(request)
    await world.run()
    (original,) = await world.told()
    await world.rows_changed("TRUNCATE outbox, outbox_queue")

    await world.tell(asked_again(request, sequence=2))

    (again,) = await world.told()
    assert again.body == original.body
    assert again.envelope.event_id == original.envelope.event_id
    assert again.envelope.sequence == original.envelope.sequence
    assert again.envelope.correlation_id == original.envelope.correlation_id
    assert again.envelope.causation_id == original.envelope.causation_id


async def test_every_order_of_requests_asks_and_attempts_ends_in_the_same_state(
    world: World,
) -> None:
    ends = set()
    for order in itertools.permutations(["request", "ask 2", "ask 3", "run"]):
        await world.empty()
        request = world.a_request()
        for step in order:
            if step == "run":
                await world.run()
            elif step == "request":
                await world.tell(request)
            else:
                await world.tell(asked_again(request, sequence=int(step[-1])))
        await world.run()
        row = await world.order(request.body.payment_order_id)
        ends.add((row["status"], row["version"], row["settled_version"], row["last_ask_sequence"]))
        assert set(await world.told_types()) == {"PaymentSettled"}
        assert len(await world.rows("SELECT * FROM payment_attempt")) == 1

    assert ends == {("SETTLED", 2, 2, 3)}


async def late_money(world: World, bank: FakeChannel) -> tuple[UUID, UUID]:
    """An order that failed as expired, whose money then came all the same."""
    request = world.a_request()
    await world.tell(request)
    bank.inject("timeout_before_booking", count=10_000)
    await world.run_to_the_end()
    order_id = request.body.payment_order_id
    attempt = await world.attempt(order_id)
    assert attempt["status"] == "CLOSED"
    await world.hear(attempt["id"], order_id, Succeeded("T7", Money(150_920), world.clock.now()))
    return order_id, attempt["id"]


def accepted(order_id: UUID, attempt_id: UUID) -> Message[MoneyAccepted]:
    return message(money_accepted(payment_order_id=order_id, attempt_id=attempt_id))


def rejected(order_id: UUID, attempt_id: UUID) -> Message[MoneyRejected]:
    return message(money_rejected(payment_order_id=order_id, attempt_id=attempt_id))


async def test_late_money_is_told_to_billing_and_settles_nothing_by_itself(
    world: World, bank: FakeChannel
) -> None:
    order_id, attempt_id = await late_money(world, bank)

    assert (await world.order(order_id))["status"] == "FAILED"
    # The bank was silent for longer than was promised, before it said that nothing was there.
    *_, failed, unexpected = told = await world.told()
    assert {m.envelope.type for m in told[:-2]} == {"PaymentDelayed"}
    assert failed.envelope.type == "PaymentFailed"
    assert unexpected.envelope.type == "UnexpectedMoneyReceived"
    assert unexpected.envelope.subject == attempt_id
    assert unexpected.envelope.sequence == 1


async def test_undecided_money_is_told_again_with_the_next_sequence_until_it_is_decided(
    world: World, bank: FakeChannel
) -> None:
    order_id, attempt_id = await late_money(world, bank)

    for seconds in (30, 60, 300):
        world.clock.advance(timedelta(seconds=seconds))
        assert await world.repeat_unexpected_money() == 1
        assert await world.repeat_unexpected_money() == 0
    await world.tell(rejected(order_id, attempt_id))
    world.clock.advance(timedelta(days=1))

    assert await world.repeat_unexpected_money() == 0
    told = [m for m in await world.told() if m.envelope.type == "UnexpectedMoneyReceived"]
    assert [m.envelope.sequence for m in told] == [1, 2, 3, 4]
    assert len({m.envelope.event_id for m in told}) == 4


async def test_money_that_billing_never_decides_about_becomes_an_item(
    world: World, bank: FakeChannel
) -> None:
    await late_money(world, bank)

    for _ in range(8):
        world.clock.advance(timedelta(hours=1))
        await world.repeat_unexpected_money()

    assert await world.items() == ["money_undecided"]


async def test_accepted_money_settles_the_failed_order_once(
    world: World, bank: FakeChannel
) -> None:
    order_id, attempt_id = await late_money(world, bank)
    failed = await world.order(order_id)
    decision = accepted(order_id, attempt_id)

    await world.tell(decision)
    state, told = await world.business_state(), await world.told()
    await world.tell(decision, decision)

    order = await world.order(order_id)
    assert (order["status"], order["attempt_id"]) == ("SETTLED", attempt_id)
    assert order["version"] == failed["version"] + 1 == order["settled_version"]
    assert told[-1].envelope.type == "PaymentSettled"
    assert told[-1].envelope.causation_id == decision.envelope.event_id
    assert await world.business_state() == state
    assert len(await world.told()) == len(told)


async def test_both_outcomes_of_an_accepted_order_are_repeated_in_their_order(
    world: World, bank: FakeChannel
) -> None:
    order_id, attempt_id = await late_money(world, bank)
    await world.tell(accepted(order_id, attempt_id))
    outcomes = ("PaymentFailed", "PaymentSettled")
    originals = [m for m in await world.told() if m.envelope.type in outcomes]
    await world.rows_changed("TRUNCATE outbox, outbox_queue")

    request = world.a_request(payment_order_id=order_id)
    await world.tell(asked_again(request, sequence=2))

    again = await world.told()
    assert [m.envelope.event_id for m in again] == [m.envelope.event_id for m in originals]
    assert [m.body for m in again] == [m.body for m in originals]


async def test_rejected_money_goes_back_once(world: World, bank: FakeChannel) -> None:
    order_id, attempt_id = await late_money(world, bank)
    decision = rejected(order_id, attempt_id)

    await world.tell(decision)
    state = await world.business_state()
    await world.tell(decision, decision)

    (refund,) = state["refund"]
    assert refund["id"] == derived_id(attempt_id, "auto-refund")
    assert (refund["status"], refund["amount_fen"]) == ("REQUESTED", 150_920)
    assert await world.items() == ["refund_due"]
    assert await world.business_state() == state
    assert (await world.order(order_id))["status"] == "FAILED"


@pytest.mark.parametrize("first", [accepted, rejected])
async def test_both_words_about_the_same_money_are_a_contradiction(
    world: World, bank: FakeChannel, first: Any
) -> None:
    order_id, attempt_id = await late_money(world, bank)
    await world.tell(first(order_id, attempt_id))
    state = await world.business_state()

    with pytest.raises(Contradiction):
        await world.tell((rejected if first is accepted else accepted)(order_id, attempt_id))

    assert await world.business_state() == state


@pytest.mark.parametrize("decision", [accepted, rejected])
async def test_a_decision_about_money_that_was_expected_is_a_contradiction(
    world: World, decision: Any
) -> None:
    order_id = await world.open()
    attempt_id = (await world.attempt(order_id))["id"]

    with pytest.raises(Contradiction):
        await world.tell(decision(order_id, attempt_id))
    await world.run()
    with pytest.raises(Contradiction):
        await world.tell(decision(order_id, attempt_id))


@pytest.mark.parametrize("decision", [accepted, rejected])
async def test_a_decision_about_money_nobody_knows_is_a_contradiction(
    world: World, decision: Any
) -> None:
    with pytest.raises(Contradiction):
        await world.tell(decision(new_id(), new_id()))


async def test_a_second_success_of_a_settled_order_is_told_and_refunded_when_rejected(
    world: World,
) -> None:
    order_id = await world.open()
    await world.run()
    first = await world.attempt(order_id)
    second_id = new_id()
    await world.rows_changed(
        "INSERT INTO payment_attempt (id, order_id, channel, amount_fen, status, version,"
        " expires_at, created_at, next_call, due_at, send_count, first_sent_at)"
        " SELECT :second, order_id, channel, amount_fen, 'STARTED', 1, expires_at, created_at,"
        " 'query', created_at, 1, created_at FROM payment_attempt WHERE id = :first",
        second=second_id,
        first=first["id"],
    )

    await world.hear(second_id, order_id, Succeeded("T8", Money(150_920), world.clock.now()))
    await world.tell(rejected(order_id, second_id))

    assert (await world.order(order_id))["attempt_id"] == first["id"]
    assert await world.told_types() == ["PaymentSettled", "UnexpectedMoneyReceived"]
    (refund,) = (await world.business_state())["refund"]
    assert refund["attempt_id"] == second_id


async def test_an_order_that_nobody_tried_to_pay_expires_by_itself(world: World) -> None:
    order_id = await world.open()
    await world.rows_changed("DELETE FROM payment_attempt")

    world.clock.advance(timedelta(minutes=29))
    await world.run_to_the_end()
    early = await world.order(order_id)
    world.clock.advance(timedelta(minutes=1))
    await world.run_to_the_end()

    assert early["status"] == "REQUESTED"
    assert (await world.order(order_id))["reason"] == "expired"
    assert await world.told_types() == ["PaymentFailed"]


async def test_a_channel_that_contradicts_itself_changes_nothing_and_calls_a_person(
    world: World,
) -> None:
    order_id = await world.open()
    await world.run()
    settled = await world.business_state()
    attempt_id = (await world.attempt(order_id))["id"]

    await world.hear(attempt_id, order_id, Succeeded("other", Money(1), world.clock.now()))

    assert await world.business_state() == settled
    assert await world.items() == ["channel_contradiction"]


async def test_every_event_of_finished_orders_told_again_changes_no_business_row(
    world: World, bank: FakeChannel
) -> None:
    requests = [world.a_request() for _ in range(6)]
    bank.inject("decline", count=2)
    await world.tell_together(requests)
    await world.run_to_the_end()
    late_order, late_attempt = await late_money(world, bank)
    decision = accepted(late_order, late_attempt)
    asks = [asked_again(request, sequence=2) for request in requests]
    await world.tell(decision, *asks)
    state, charged, told = await world.business_state(), bank.charged, await world.told()

    for _ in range(3):
        await world.tell(*requests, *asks, decision)
        await world.run_to_the_end()

    assert await world.business_state() == state
    assert bank.charged == charged
    assert len(await world.told()) == len(told)
