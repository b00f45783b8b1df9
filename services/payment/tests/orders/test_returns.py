"""Back from the cashier without a log-in: the token tells the state and concludes nothing."""

from datetime import timedelta
from uuid import UUID

import httpx2

from services.payment.domain.payment_attempt import Call
from services.payment.tests.building import CASHIER
from services.payment.tests.fake_cashier import FakeCashier
from services.payment.tests.running_payment import Payment


async def a_return(payment: Payment) -> tuple[UUID, UUID, str]:
    """An order, its payer, and the payer's way back."""
    order_id, payer_id = await payment.an_order(channel=CASHIER.id)
    token: str = (await payment.start(order_id, payer_id)).json()["return_token"]
    return order_id, payer_id, token


async def come_back(payment: Payment, token: str) -> httpx2.Response:
    return await payment.http.get(f"/payment/v1/returns/{token}")


async def say(payment: Payment, token: str, said: str) -> httpx2.Response:
    return await payment.http.post(f"/payment/v1/returns/{token}/asks", json={"said": said})


async def test_the_way_back_tells_state_amount_and_times_and_names_nobody(
    payment: Payment,
) -> None:
    order_id, payer_id, token = await a_return(payment)

    answer = await come_back(payment, token)

    shown = answer.json()
    assert answer.status_code == 200
    assert set(shown) == {
        "status",
        "status_for_person",
        "amount_fen",
        "currency",
        "version",
        "opened_at",
        "expires_at",
        "settled_at",
    }
    assert (shown["status"], shown["amount_fen"]) == ("requested", 150_920)
    for secret in (order_id, payer_id):
        assert str(secret) not in answer.text
    assert answer.headers["cache-control"] == "no-store"


async def test_what_the_channel_appends_to_the_way_back_changes_nothing(payment: Payment) -> None:
    _, _, token = await a_return(payment)

    plain = await come_back(payment, token)
    appended = await come_back(payment, f"{token}?out_trade_no=1&total_amount=0.01&sign=x%3D")

    assert appended.status_code == 200
    assert appended.json() == plain.json()


async def test_what_the_payer_says_only_makes_us_ask_and_concludes_nothing(
    payment: Payment, alipay: FakeCashier
) -> None:
    for said in ("paid", "not_paid"):
        order_id, _, token = await a_return(payment)
        number = (await payment.world.attempt(order_id))["id"].hex

        answer = await say(payment, token, said)
        before = await payment.world.order(order_id)
        await payment.world.run()

        assert answer.status_code == 202
        assert answer.json()["status_for_person"]["headline"] == "正在向支付宝查结果"
        assert before["status"] == "REQUESTED"
        assert [call for call, of in alipay.calls if of == number] == [Call.START, Call.QUERY]
        assert (await payment.world.attempt(order_id))["status"] == "AWAITING_PAYER"


async def test_a_payer_who_paid_sees_it_as_soon_as_the_channel_says_so(
    payment: Payment, alipay: FakeCashier
) -> None:
    order_id, _, token = await a_return(payment)
    alipay.pay((await payment.world.attempt(order_id))["id"].hex)

    await say(payment, token, "paid")
    await payment.world.run()

    shown = (await come_back(payment, token)).json()
    assert shown["status"] == "settled"
    assert shown["status_for_person"]["headline"] == "钱已收到，等税务入账"


async def test_a_payer_who_paid_after_the_close_is_not_left_to_the_slow_schedule(
    payment: Payment, alipay: FakeCashier
) -> None:
    order_id, payer_id, token = await a_return(payment)
    attempt_id = (await payment.world.attempt(order_id))["id"]
    await payment.give_up(order_id, str(attempt_id), payer_id)
    alipay.pay(attempt_id.hex)

    await say(payment, token, "paid")
    await payment.world.run()

    assert (await come_back(payment, token)).json()["status"] == "settled"


async def test_pressing_again_does_not_ask_the_channel_more_often(
    payment: Payment, alipay: FakeCashier
) -> None:
    _, _, token = await a_return(payment)

    for _ in range(10):
        await say(payment, token, "paid")
        await payment.world.run()
    payment.world.clock.advance(timedelta(seconds=3))
    await say(payment, token, "paid")
    await payment.world.run()

    assert [call for call, _ in alipay.calls].count(Call.QUERY) == 2


async def test_a_token_is_kept_as_a_hash_only(payment: Payment) -> None:
    _, _, token = await a_return(payment)

    everything = [
        await payment.world.rows("SELECT * FROM return_token"),
        await payment.world.rows("SELECT headers, convert_from(body, 'UTF8') FROM idempotency_key"),
    ]

    assert token not in str(everything)


async def test_a_token_ends_and_a_guessed_one_is_none(payment: Payment) -> None:
    _, _, token = await a_return(payment)
    payment.world.clock.advance(timedelta(hours=24, minutes=30))

    answers = [
        await come_back(payment, token),
        await come_back(payment, "A" * 32),
        await say(payment, "A" * 32, "paid"),
    ]

    assert {answer.status_code for answer in answers} == {404}
    assert {answer.json()["code"] for answer in answers} == {"return_not_known"}
    assert (await come_back(payment, "short")).status_code == 422


async def test_a_token_of_one_order_opens_no_other(payment: Payment, alipay: FakeCashier) -> None:
    first, _, token = await a_return(payment)
    other, _, other_token = await a_return(payment)
    alipay.pay((await payment.world.attempt(first))["id"].hex)

    await say(payment, token, "paid")
    await payment.world.run()

    assert (await come_back(payment, token)).json()["status"] == "settled"
    assert (await come_back(payment, other_token)).json()["status"] == "requested"
    assert (await payment.world.order(other))["status"] == "REQUESTED"
