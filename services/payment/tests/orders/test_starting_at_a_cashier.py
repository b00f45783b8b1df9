"""Beginning at a cashier over HTTP: one attempt per wish, committed before any call."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from itertools import product
from uuid import UUID

import httpx2
import pytest

from services.payment.domain.channel_answer import AwaitingPayer
from services.payment.domain.payment_attempt import Call
from services.payment.domain.payment_order import CHOSEN_BY_PAYER
from services.payment.domain.switch import ALL_CHANNELS
from services.payment.tests.building import CASHIER, OTHER_CASHIER
from services.payment.tests.fake_cashier import FakeCashier
from services.payment.tests.running_payment import Payment
from shared.kernel.ids import new_id


async def a_cashier_order(payment: Payment, channel: str = CASHIER.id) -> tuple[UUID, UUID]:
    return await payment.an_order(channel=channel)


async def test_a_payer_is_told_what_to_do_next(payment: Payment, alipay: FakeCashier) -> None:
    order_id, payer_id = await a_cashier_order(payment)

    answer = await payment.start(order_id, payer_id)
    order = (await payment.read(order_id, payer_id)).json()

    started = answer.json()
    assert answer.status_code == 201
    attempt = await payment.world.attempt(order_id)
    number = attempt["id"].hex
    assert started["attempt_id"] == str(attempt["id"])
    assert started["status"] == "awaiting_payer"
    assert started["next_action"] == {
        "type": "redirect",
        "url": f"https://cashier.invalid/{number}",
    }
    assert started["action_expires_at"] is not None
    assert len(started["return_token"]) >= 22
    assert order["status"] == "requested"
    assert order["status_for_person"]["headline"] == "等您在支付宝付款"
    assert alipay.calls == [(Call.START, number)]


async def test_the_payers_details_go_to_the_channel_and_nowhere_else(
    payment: Payment, alipay: FakeCashier
) -> None:
    order_id, payer_id = await a_cashier_order(payment)

    answer = await payment.start(
        order_id,
        payer_id,
        method="mini",
        openid="o-payer-of-this-test",
        headers={"X-Forwarded-For": "198.51.100.7"},
    )

    (details,) = alipay.payers
    assert (details.client_address, details.openid) == (
        "198.51.100.7",
        "o-payer-of-this-test",
    )
    kept = [
        await payment.world.business_state(),
        await payment.world.rows("SELECT headers, convert_from(body, 'UTF8') FROM outbox"),
        await payment.world.rows("SELECT headers, convert_from(body, 'UTF8') FROM idempotency_key"),
    ]
    everything = str(kept)
    assert answer.status_code == 201
    assert "o-payer" not in everything
    assert "198.51.100.7" not in everything


async def test_the_same_key_begins_the_same_attempt_again(
    payment: Payment, alipay: FakeCashier
) -> None:
    order_id, payer_id = await a_cashier_order(payment)

    first = await payment.start(order_id, payer_id, key="k1")
    again = await payment.start(order_id, payer_id, key="k1")
    other_body = await payment.start(order_id, payer_id, key="k1", method="mini", openid="o1")

    assert [first.status_code, again.status_code] == [201, 201]
    assert first.json()["attempt_id"] == again.json()["attempt_id"]
    assert first.json()["next_action"] == again.json()["next_action"]
    assert [call for call, _ in alipay.calls] == [Call.START, Call.START]
    assert other_body.status_code == 422


async def test_a_new_key_for_the_same_way_goes_on_with_the_open_attempt(
    payment: Payment, alipay: FakeCashier
) -> None:
    order_id, payer_id = await a_cashier_order(payment)

    first = await payment.start(order_id, payer_id)
    second = await payment.start(order_id, payer_id)

    assert first.json()["attempt_id"] == second.json()["attempt_id"]
    assert len(alipay.amounts) == 1


async def test_eight_requests_at_once_begin_one_attempt(
    payment: Payment, alipay: FakeCashier
) -> None:
    order_id, payer_id = await a_cashier_order(payment)

    answers = await asyncio.gather(*(payment.start(order_id, payer_id) for _ in range(8)))

    assert {answer.status_code for answer in answers} <= {201, 409}
    assert any(answer.status_code == 201 for answer in answers)
    assert len(await payment.world.rows("SELECT id FROM payment_attempt")) == 1


async def test_the_attempt_is_committed_before_the_channel_is_called(
    payment: Payment, alipay: FakeCashier
) -> None:
    order_id, payer_id = await a_cashier_order(payment)
    alipay.gate = asyncio.Event()
    starting = asyncio.create_task(payment.start(order_id, payer_id))
    await alipay.called.wait()

    attempt = await payment.world.attempt(order_id)
    alipay.gate.set()
    answer = await starting

    assert (attempt["status"], attempt["send_count"]) == ("STARTED", 1)
    assert attempt["lease_owner"] is not None
    assert answer.status_code == 201


async def test_after_a_crash_during_the_call_the_loop_asks_and_the_payer_may_go_on(
    payment: Payment, alipay: FakeCashier
) -> None:
    order_id, payer_id = await a_cashier_order(payment)
    alipay.inject("unknown_after", on=Call.START)
    lost = await payment.start(order_id, payer_id, key="k1")
    await payment.world.rows_changed("UPDATE payment_attempt SET due_at = now() - interval '1 day'")

    await payment.world.run()
    attempt = await payment.world.attempt(order_id)
    again = await payment.start(order_id, payer_id, key="k1")

    assert lost.status_code == 503
    assert lost.json()["code"] == "channel_silent"
    assert "没有扣款" in lost.json()["detail"]
    assert attempt["status"] == "AWAITING_PAYER"
    assert again.status_code == 201
    assert again.json()["attempt_id"] == str(attempt["id"])


async def test_a_channel_that_does_not_answer_leaves_the_payer_free_to_try_again(
    payment: Payment, alipay: FakeCashier
) -> None:
    order_id, payer_id = await a_cashier_order(payment)
    alipay.inject("unknown", on=Call.START)

    answer = await payment.start(order_id, payer_id, headers={"Accept-Language": "en"})
    order = (await payment.read(order_id, payer_id)).json()

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    assert answer.json()["detail"].startswith("Alipay is not answering now. Nothing was charged.")
    assert order["status_for_person"]["can_pay"]
    assert (await payment.world.attempt(order_id))["status"] == "STARTED"


async def test_after_a_decline_the_payer_begins_a_new_attempt(
    payment: Payment, alipay: FakeCashier
) -> None:
    order_id, payer_id = await a_cashier_order(payment)
    alipay.inject("decline", on=Call.START)

    declined = await payment.start(order_id, payer_id)
    order = (await payment.read(order_id, payer_id)).json()
    again = await payment.start(order_id, payer_id)

    assert declined.status_code == 409
    assert declined.json()["code"] == "attempt_declined"
    assert order["status"] == "requested"
    assert order["status_for_person"]["headline"] == "这次没付成，没有扣款"
    assert again.status_code == 201
    assert len(await payment.world.rows("SELECT id FROM payment_attempt")) == 2


async def test_another_channel_closes_the_open_attempt_there(
    payment: Payment, alipay: FakeCashier, wechatpay: FakeCashier
) -> None:
    order_id, payer_id = await a_cashier_order(payment)
    first = (await payment.start(order_id, payer_id)).json()["attempt_id"]

    second = await payment.start(order_id, payer_id, channel=OTHER_CASHIER.id)
    await payment.world.run()

    assert second.status_code == 201
    attempts = await payment.world.rows("SELECT id, status, channel FROM payment_attempt")
    assert {str(row["id"]): row["status"] for row in attempts}[first] == "CLOSED"
    assert [call for call, _ in alipay.calls] == [Call.START, Call.QUERY, Call.CLOSE]
    assert (await payment.world.order(order_id))["status"] == "REQUESTED"
    assert [call for call, _ in wechatpay.calls] == [Call.START]


async def test_an_attempt_nobody_opened_is_watched_while_others_begin(
    payment: Payment, alipay: FakeCashier
) -> None:
    alipay.opens_late = True
    order_id, payer_id = await a_cashier_order(payment)
    first = (await payment.start(order_id, payer_id)).json()["attempt_id"]

    second = await payment.start(order_id, payer_id, channel=OTHER_CASHIER.id)
    too_soon = await payment.start(order_id, payer_id, method="mini", openid="o1")
    await payment.world.run()
    third = await payment.start(order_id, payer_id, method="mini", openid="o1")
    alipay.pay(UUID(first).hex)
    await payment.world.run_to_the_end()

    assert second.status_code == 201
    assert (too_soon.status_code, too_soon.json()["code"]) == (409, "attempts_open")
    assert third.status_code == 201
    statuses = {
        str(row["id"]): row["status"]
        for row in await payment.world.rows("SELECT id, status FROM payment_attempt")
    }
    assert statuses == {
        first: "SUCCEEDED",
        second.json()["attempt_id"]: "CLOSED",
        third.json()["attempt_id"]: "CLOSED",
    }
    assert (await payment.world.order(order_id))["status"] == "SETTLED"


async def test_two_pages_given_up_that_nobody_opened_lock_nobody_out(
    payment: Payment, alipay: FakeCashier
) -> None:
    alipay.opens_late = True
    order_id, payer_id = await a_cashier_order(payment)
    begun = []
    for way in ({"method": "wap"}, {"method": "mini", "openid": "o1"}):
        begun.append((await payment.start(order_id, payer_id, **way)).json()["attempt_id"])
        await payment.give_up(order_id, begun[-1], payer_id)
    order = (await payment.read(order_id, payer_id)).json()

    again = await payment.start(order_id, payer_id)
    elsewhere = await payment.start(order_id, payer_id, channel=OTHER_CASHIER.id)

    assert order["status_for_person"]["headline"] == "等您付款"
    assert order["status_for_person"]["can_pay"]
    assert (again.status_code, again.json()["attempt_id"]) == (201, begun[0])
    assert elsewhere.status_code == 201
    assert len(await payment.world.rows("SELECT id FROM payment_attempt")) == 3


@pytest.mark.parametrize("opens_late", [True, False])
async def test_who_comes_back_to_a_way_goes_on_with_the_same_attempt_and_page(
    payment: Payment, alipay: FakeCashier, *, opens_late: bool
) -> None:
    alipay.opens_late = opens_late
    order_id, payer_id = await a_cashier_order(payment)

    first = (await payment.start(order_id, payer_id)).json()
    other = (await payment.start(order_id, payer_id, channel=OTHER_CASHIER.id)).json()
    back = (await payment.start(order_id, payer_id)).json()
    alipay.pay(UUID(first["attempt_id"]).hex)
    await payment.world.run_to_the_end()

    assert (back["attempt_id"], back["next_action"]) == (
        first["attempt_id"],
        first["next_action"],
    )
    attempts = await payment.world.rows("SELECT id, status FROM payment_attempt")
    assert {str(row["id"]): row["status"] for row in attempts} == {
        first["attempt_id"]: "SUCCEEDED",
        other["attempt_id"]: "CLOSED",
    }
    assert Call.CLOSE not in [call for call, _ in alipay.calls]


async def test_the_wish_to_close_is_taken_back_once_and_may_come_again(
    payment: Payment, alipay: FakeCashier
) -> None:
    alipay.opens_late = True
    order_id, payer_id = await a_cashier_order(payment)
    attempt_id = (await payment.start(order_id, payer_id)).json()["attempt_id"]
    await payment.give_up(order_id, attempt_id, payer_id)

    await payment.start(order_id, payer_id)
    taken_back = (await payment.world.attempt(order_id))["close_wanted_at"]
    alipay.book[UUID(attempt_id).hex] = AwaitingPayer()
    given_up = await payment.give_up(order_id, attempt_id, payer_id)

    assert taken_back is None
    assert given_up.json()["attempts"][0]["status"] == "closed"
    assert alipay.calls[-1] == (Call.CLOSE, UUID(attempt_id).hex)


async def test_nobody_comes_back_while_money_may_be_on_its_way_elsewhere(
    payment: Payment, alipay: FakeCashier, wechatpay: FakeCashier
) -> None:
    alipay.opens_late = True
    order_id, payer_id = await a_cashier_order(payment)
    await payment.start(order_id, payer_id)
    await payment.start(order_id, payer_id, channel=OTHER_CASHIER.id)
    wechatpay.inject("unknown", on=Call.QUERY)
    payment.world.clock.advance(timedelta(seconds=5))
    await payment.world.run()

    back = await payment.start(order_id, payer_id, key="k1")
    order = (await payment.read(order_id, payer_id)).json()
    payment.world.clock.advance(timedelta(seconds=int(back.headers["retry-after"])))
    await payment.world.run()
    later = await payment.start(order_id, payer_id, key="k1")

    assert (back.status_code, back.json()["code"]) == (409, "outcome_unknown")
    assert back.json()["next_update_by"] == order["status_for_person"]["next_update_by"]
    assert not order["status_for_person"]["can_pay"]
    assert later.status_code == 201
    assert "idempotency-replayed" not in later.headers


@pytest.mark.parametrize("opens_late", [True, False])
async def test_can_pay_is_said_only_where_a_way_begins_and_refusals_end_in_their_time(
    payment: Payment, alipay: FakeCashier, *, opens_late: bool
) -> None:
    """A page, and two more steps of its payer in every combination; then every way is tried."""
    alipay.opens_late = opens_late
    for more in product(("elsewhere", "give up", "asked"), repeat=2):
        steps = ("wap", *more)
        order_id, payer_id = await a_cashier_order(payment)
        for step in steps:
            await take_step(payment, order_id, payer_id, step)
        order = (await payment.read(order_id, payer_id)).json()

        answers = [await take_step(payment, order_id, payer_id, way) for way in WAYS]

        statuses = [answer.status_code for answer in answers if answer is not None]
        assert not order["status_for_person"]["can_pay"] or 201 in statuses, (steps, statuses)
        for way, refused in zip(WAYS, answers, strict=True):
            if refused is not None and refused.status_code == 409:
                wait = timedelta(seconds=int(refused.headers["retry-after"]))
                payment.world.clock.advance(wait)
                await payment.world.run()
                again = await take_step(payment, order_id, payer_id, way)
                assert again is not None
                assert again.status_code == 201, (steps, way, again.text)


WAYS: dict[str, dict[str, str]] = {
    "wap": {},
    "mini": {"method": "mini", "openid": "o1"},
    "elsewhere": {"channel": OTHER_CASHIER.id},
}


async def take_step(
    payment: Payment, order_id: UUID, payer_id: UUID, step: str
) -> httpx2.Response | None:
    """Begin in a way, give up the newest attempt, or let the loop ask."""
    if step in WAYS:
        return await payment.start(order_id, payer_id, **WAYS[step])
    attempts = (await payment.read(order_id, payer_id)).json()["attempts"]
    if step == "give up" and attempts:
        await payment.give_up(order_id, attempts[-1]["id"], payer_id)
    if step == "asked":
        await payment.world.run()
    return None


async def test_another_account_at_the_channel_goes_on_under_a_new_number(
    payment: Payment, alipay: FakeCashier
) -> None:
    order_id, payer_id = await a_cashier_order(payment)
    parent = {"method": "mini", "openid": "o-parents-phone"}
    child = {"method": "mini", "openid": "o-childs-phone"}

    first = await payment.start(order_id, payer_id, **parent)
    second = await payment.start(order_id, payer_id, key="k1", **child)
    again = await payment.start(order_id, payer_id, **child)
    order = (await payment.read(order_id, payer_id)).json()

    assert [first.status_code, second.status_code, again.status_code] == [201, 201, 201]
    assert first.json()["attempt_id"] != second.json()["attempt_id"]
    assert second.json()["attempt_id"] == again.json()["attempt_id"]
    number = UUID(first.json()["attempt_id"]).hex
    assert [call for call, of in alipay.calls if of == number][-2:] == [Call.QUERY, Call.CLOSE]
    assert [attempt["status"] for attempt in order["attempts"]] == ["closed", "awaiting_payer"]


async def test_a_number_that_cannot_be_closed_yet_lets_nobody_begin_under_another(
    payment: Payment, alipay: FakeCashier
) -> None:
    order_id, payer_id = await a_cashier_order(payment)
    await payment.start(order_id, payer_id, method="mini", openid="o-parents-phone")
    alipay.inject("unknown", on=Call.CLOSE)

    silent = await payment.start(order_id, payer_id, method="mini", openid="o-childs-phone")
    payment.world.clock.advance(timedelta(seconds=int(silent.headers["retry-after"])))
    await payment.world.run()
    child = await payment.start(order_id, payer_id, method="mini", openid="o-childs-phone")

    assert (silent.status_code, silent.json()["code"]) == (409, "outcome_unknown")
    assert child.status_code == 201
    rows = await payment.world.rows("SELECT status FROM payment_attempt ORDER BY created_at")
    assert [row["status"] for row in rows] == ["CLOSED", "AWAITING_PAYER"]


async def test_what_was_paid_by_the_first_account_is_not_begun_again(
    payment: Payment, alipay: FakeCashier
) -> None:
    order_id, payer_id = await a_cashier_order(payment)
    first = await payment.start(order_id, payer_id, method="mini", openid="o-parents-phone")
    alipay.pay(UUID(first.json()["attempt_id"]).hex)

    child = await payment.start(order_id, payer_id, method="mini", openid="o-childs-phone")

    assert (child.status_code, child.json()["code"]) == (409, "order_finished")
    assert len(await payment.world.rows("SELECT id FROM payment_attempt")) == 1


async def test_nobody_begins_again_while_money_may_be_on_its_way(
    payment: Payment, alipay: FakeCashier
) -> None:
    order_id, payer_id = await a_cashier_order(payment)
    await payment.start(order_id, payer_id)
    alipay.inject("unknown", on=Call.QUERY)
    payment.world.clock.advance(timedelta(seconds=5))
    await payment.world.run()

    answer = await payment.start(order_id, payer_id, channel=OTHER_CASHIER.id)

    assert answer.status_code == 409
    assert answer.json()["code"] == "outcome_unknown"
    assert "先不要再付" in answer.json()["detail"]


async def test_nobody_begins_at_a_cashier_while_a_direct_charge_is_under_way(
    payment: Payment,
) -> None:
    order_id, payer_id = await payment.an_order()

    answer = await payment.start(order_id, payer_id)

    assert answer.json()["code"] == "outcome_unknown"


@pytest.mark.parametrize(
    ("wish", "status", "code"),
    [
        ({"channel": "nobody"}, 422, "channel_unknown"),
        ({"channel": "bank-direct-debit"}, 422, "channel_starts_itself"),
        ({"method": "telex"}, 422, "method_unknown"),
        ({"method": "mini"}, 422, "openid_missing"),
        ({"unknown": 1}, 422, "invalid_request"),
    ],
)
async def test_what_cannot_begin_is_refused_before_anything_is_stored(
    payment: Payment, wish: dict[str, str], status: int, code: str
) -> None:
    order_id, payer_id = await a_cashier_order(payment)

    answer = await payment.start(order_id, payer_id, **wish)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await payment.world.rows("SELECT id FROM payment_attempt") == []


async def test_an_amount_over_the_channels_limit_is_refused_with_its_limits(
    payment: Payment, wechatpay: FakeCashier
) -> None:
    order_id, payer_id = await payment.an_order(channel=CASHIER.id, amount_fen=5_000_001)

    answer = await payment.start(order_id, payer_id, channel=OTHER_CASHIER.id)

    assert answer.status_code == 409
    assert answer.json()["code"] == "amount_not_taken"
    assert answer.json()["limits"] == {"min_fen": 1, "max_fen": 5_000_000}


async def test_an_order_about_to_expire_begins_nothing(payment: Payment) -> None:
    order_id, payer_id = await a_cashier_order(payment)
    payment.world.clock.advance(timedelta(minutes=29, seconds=30))

    answer = await payment.start(order_id, payer_id)
    order = (await payment.read(order_id, payer_id)).json()

    assert answer.json()["code"] == "order_expires_now"
    assert answer.json()["next_update_by"] > order["expires_at"]
    assert order["status_for_person"]["headline"] == "付款时间马上就到"
    assert not order["status_for_person"]["can_pay"]


async def test_a_stranger_learns_nothing_and_begins_nothing(payment: Payment) -> None:
    order_id, payer_id = await a_cashier_order(payment)
    attempt_id = (await payment.start(order_id, payer_id)).json()["attempt_id"]
    stranger = new_id()

    answers = [
        await payment.start(order_id, stranger),
        await payment.start(new_id(), payer_id),
        await payment.give_up(order_id, attempt_id, stranger),
    ]

    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json()["code"] == "order_not_yet_known"


@pytest.mark.parametrize("channel", [CASHIER.id, ALL_CHANNELS])
async def test_a_stopped_channel_begins_nothing_and_others_go_on(
    payment: Payment, channel: str
) -> None:
    order_id, payer_id = await a_cashier_order(payment)
    await payment.world.turn(channel, is_stopped=True)
    await payment.switches.look()

    stopped = await payment.start(order_id, payer_id)
    order = (await payment.read(order_id, payer_id)).json()
    other = await payment.start(order_id, payer_id, channel=OTHER_CASHIER.id)
    await payment.world.turn(channel, is_stopped=False)
    again = await payment.start(order_id, payer_id, channel=OTHER_CASHIER.id)

    assert stopped.status_code == 503
    assert stopped.json()["code"] == "channel_stopped"
    assert stopped.json()["detail"] == "现在不能用支付宝付款，没有扣款。请换一种方式。"
    assert order["status_for_person"]["headline"] == "支付宝暂停付款"
    assert order["status_for_person"]["can_pay"] == (channel == CASHIER.id)
    assert other.status_code == (201 if channel == CASHIER.id else 503)
    assert again.status_code == 201


async def test_giving_up_closes_at_the_channel_first(payment: Payment, alipay: FakeCashier) -> None:
    order_id, payer_id = await a_cashier_order(payment)
    attempt_id = (await payment.start(order_id, payer_id)).json()["attempt_id"]

    answer = await payment.give_up(order_id, attempt_id, payer_id)
    again = await payment.give_up(order_id, attempt_id, payer_id)

    assert [answer.status_code, again.status_code] == [200, 200]
    assert answer.json()["attempts"][0]["status"] == "closed"
    assert answer.json()["status"] == "requested"
    assert [call for call, _ in alipay.calls] == [Call.START, Call.QUERY, Call.CLOSE]


async def test_giving_up_what_was_paid_settles_it(payment: Payment, alipay: FakeCashier) -> None:
    order_id, payer_id = await a_cashier_order(payment)
    attempt_id = (await payment.start(order_id, payer_id)).json()["attempt_id"]
    alipay.pay(UUID(attempt_id).hex)

    answer = await payment.give_up(order_id, attempt_id, payer_id)

    assert answer.status_code == 200
    assert answer.json()["status"] == "settled"


async def test_giving_up_waits_for_the_channels_word(payment: Payment, alipay: FakeCashier) -> None:
    order_id, payer_id = await a_cashier_order(payment)
    attempt_id = (await payment.start(order_id, payer_id)).json()["attempt_id"]
    alipay.inject("unknown_after", on=Call.CLOSE)

    answer = await payment.give_up(order_id, attempt_id, payer_id)
    payment.world.clock.advance(timedelta(seconds=1))
    await payment.world.run()

    assert answer.status_code == 202
    assert answer.json()["attempts"][0]["status"] == "unknown"
    assert (await payment.world.attempt(order_id))["status"] == "CLOSED"


async def test_an_order_without_a_channel_waits_for_the_payers_choice(payment: Payment) -> None:
    order_id, payer_id = await a_cashier_order(payment, CHOSEN_BY_PAYER)

    order = (await payment.read(order_id, payer_id)).json()
    answer = await payment.start(order_id, payer_id, channel=OTHER_CASHIER.id)

    assert order["attempts"] == []
    assert order["status_for_person"]["headline"] == "等您选付款方式"
    assert answer.status_code == 201


async def test_channels_tell_what_they_can_and_whether_they_work(payment: Payment) -> None:
    await payment.world.turn(OTHER_CASHIER.id, is_stopped=True)
    await payment.switches.look()

    answer = await payment.http.get("/payment/v1/channels", headers=payment.as_person(new_id()))

    shown = {item["id"]: item for item in answer.json()["items"]}
    assert shown[CASHIER.id] == {
        "id": CASHIER.id,
        "kind": "cashier",
        "name": "支付宝",
        "usable": True,
        "reason": None,
        "slow": False,
        "limits": {"min_fen": 1, "max_fen": 10_000_000_000},
        "methods": [
            {"id": "wap", "opens_in": "phone_browser", "needs_openid": False},
            {"id": "mini", "opens_in": "channel_app", "needs_openid": True},
        ],
        "shortest_expiry_seconds": 60,
        "idempotency_window_seconds": 86400,
        "refund_window_seconds": None,
        "has_bill": False,
    }
    assert (shown[OTHER_CASHIER.id]["usable"], shown[OTHER_CASHIER.id]["reason"]) == (
        False,
        "stopped",
    )


async def test_a_channel_whose_calls_are_spared_is_shown_as_silent(
    payment: Payment, alipay: FakeCashier
) -> None:
    able = alipay.capabilities
    alipay.capabilities = replace(able, usable=False)

    answer = await payment.http.get("/payment/v1/channels", headers=payment.as_person(new_id()))
    alipay.capabilities = able
    again = await payment.http.get("/payment/v1/channels", headers=payment.as_person(new_id()))

    silent, answering = (
        {item["id"]: item for item in told.json()["items"]}[able.id] for told in (answer, again)
    )
    assert (silent["usable"], silent["reason"]) == (False, "silent")
    assert (answering["usable"], answering["reason"]) == (True, None)
