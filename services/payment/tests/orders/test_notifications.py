"""What channels tell by themselves: verified first, each once, and answered after the commit."""

import asyncio
import hashlib
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.payment.domain.channel_answer import Succeeded
from services.payment.domain.channel_notification import RawNotification
from services.payment.domain.payment_attempt import Call
from services.payment.tests.building import CASHIER, OTHER_CASHIER
from services.payment.tests.fake_cashier import FakeCashier, signed
from services.payment.tests.running_payment import Payment, running_payment
from services.payment.tests.world import World
from shared.kernel.errors import Unavailable
from shared.kernel.ids import new_id
from shared.kernel.money import Money


async def in_the_cashier(payment: Payment, **order: Any) -> tuple[UUID, str]:
    """An order whose payer is in the cashier, and the order number there."""
    order_id, payer_id = await payment.an_order(channel=CASHIER.id, **order)
    started = (await payment.start(order_id, payer_id)).json()
    return order_id, UUID(started["attempt_id"]).hex


async def notifications(payment: Payment) -> list[dict[str, Any]]:
    return await payment.world.rows("SELECT * FROM channel_notification")


async def refused(payment: Payment) -> list[str]:
    rows = await payment.world.rows("SELECT reason FROM refused_notification ORDER BY id")
    return [row["reason"] for row in rows]


async def test_a_notification_settles_the_order_and_is_answered_in_the_channels_words(
    payment: Payment, alipay: FakeCashier
) -> None:
    order_id, number = await in_the_cashier(payment)

    answer = await payment.notify(CASHIER.id, alipay.notification(number, alipay.pay(number)))

    assert (answer.status_code, answer.content) == (200, b"success")
    assert answer.headers["content-type"].startswith("text/plain")
    assert (await payment.world.order(order_id))["status"] == "SETTLED"
    assert await payment.world.told_types() == ["PaymentSettled"]
    (kept,) = await notifications(payment)
    assert (kept["attempt_id"].hex, kept["answer"]) == (number, "succeeded")
    assert Call.QUERY not in [call for call, _ in alipay.calls]


async def test_the_same_notification_eight_times_at_once_to_two_replicas_counts_once(
    world: World, redis_url: str, alipay: FakeCashier
) -> None:
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(running_payment(world, redis_url=redis_url))
            for _ in range(2)
        ]
        order_id, number = await in_the_cashier(replicas[0])
        told = alipay.notification(number, alipay.pay(number))

        answers = await asyncio.gather(
            *(replicas[turn % 2].notify(CASHIER.id, told) for turn in range(8))
        )
        late = await replicas[1].notify(CASHIER.id, told)

        assert {answer.content for answer in [*answers, late]} == {b"success"}
        assert len(await notifications(replicas[0])) == 1
    assert (await world.order(order_id))["version"] == 4
    assert await world.told_types() == ["PaymentSettled"]
    assert await world.items() == []


async def test_the_same_success_under_other_ids_changes_nothing_more(
    payment: Payment, alipay: FakeCashier
) -> None:
    _, number = await in_the_cashier(payment)
    paid = alipay.pay(number)

    answers = await asyncio.gather(
        *(payment.notify(CASHIER.id, alipay.notification(number, paid)) for _ in range(8))
    )

    assert {answer.content for answer in answers} == {b"success"}
    assert len(await notifications(payment)) == 8
    assert await payment.world.told_types() == ["PaymentSettled"]
    assert await payment.world.items() == []


async def test_many_notifications_at_once_settle_all_their_orders(
    payment: Payment, alipay: FakeCashier
) -> None:
    numbers = [(await in_the_cashier(payment))[1] for _ in range(10)]

    answers = await asyncio.gather(
        *(
            payment.notify(CASHIER.id, alipay.notification(number, alipay.pay(number)))
            for number in [*numbers, *numbers]
        )
    )

    assert {answer.status_code for answer in answers} == {200}
    assert await payment.world.told_types() == ["PaymentSettled"] * 10


async def test_a_notification_may_come_before_the_channel_has_answered_the_start(
    payment: Payment, alipay: FakeCashier
) -> None:
    order_id, payer_id = await payment.an_order(channel=CASHIER.id)
    alipay.gate = asyncio.Event()
    starting = asyncio.create_task(payment.start(order_id, payer_id))
    await alipay.called.wait()
    attempt = await payment.world.attempt(order_id)
    number = attempt["id"].hex
    alipay.amounts[number] = Money(attempt["amount_fen"])

    told = await payment.notify(CASHIER.id, alipay.notification(number, alipay.pay(number)))
    alipay.gate.set()
    started = await starting

    assert told.content == b"success"
    assert started.status_code == 201
    assert (started.json()["status"], started.json()["next_action"]) == ("succeeded", None)
    assert (await payment.world.order(order_id))["status"] == "SETTLED"
    assert await payment.world.items() == []


async def test_a_wrong_amount_never_settles_and_goes_back_with_an_item(
    payment: Payment, alipay: FakeCashier
) -> None:
    order_id, number = await in_the_cashier(payment)
    wrong = alipay.pay(number, amount=Money(1))

    answer = await payment.notify(CASHIER.id, alipay.notification(number, wrong))
    between = await payment.world.order(order_id)
    await payment.world.run()

    assert answer.content == b"success"
    assert between["status"] == "REQUESTED"
    order = await payment.world.order(order_id)
    assert (order["status"], order["reason"]) == ("FAILED", "wrong_amount")
    assert await payment.world.items() == ["refund_due", "wrong_amount"]
    (refund,) = await payment.world.rows("SELECT amount_fen FROM refund")
    assert refund["amount_fen"] == 1


async def test_a_wrong_amount_that_the_channel_does_not_confirm_settles_by_its_true_one(
    payment: Payment, alipay: FakeCashier
) -> None:
    order_id, number = await in_the_cashier(payment)
    true = alipay.pay(number)
    lie = Succeeded(true.trade_no, Money(1), true.at)

    await payment.notify(CASHIER.id, alipay.notification(number, lie))
    await payment.world.run()

    assert (await payment.world.order(order_id))["status"] == "SETTLED"
    assert await payment.world.items() == []


async def test_a_truthful_message_that_moves_no_payment_changes_nothing(
    payment: Payment, alipay: FakeCashier
) -> None:
    order_id, number = await in_the_cashier(payment)
    before = await payment.world.business_state()

    ours = await payment.notify(CASHIER.id, alipay.notification(number))
    self_test = await payment.notify(CASHIER.id, alipay.notification("0" * 32))

    assert [ours.status_code, self_test.status_code] == [200, 200]
    assert await payment.world.business_state() == before
    assert (await payment.world.order(order_id))["status"] == "REQUESTED"


async def test_what_is_not_believed_changes_nothing_and_leaves_its_evidence(
    payment: Payment, alipay: FakeCashier
) -> None:
    _, number = await in_the_cashier(payment)
    before = await payment.world.business_state()
    forged = RawNotification({}, alipay.notification(number, alipay.pay(number)).body)

    answers = [
        await payment.notify(CASHIER.id, forged),
        await payment.notify(CASHIER.id, forged),
        await payment.notify(CASHIER.id, signed({"id": "1"})),
        await payment.notify(CASHIER.id, RawNotification({}, b"\xff" * 60_000)),
    ]

    assert {answer.status_code for answer in answers} == {400}
    assert await payment.world.business_state() == before
    assert await refused(payment) == ["signature", "malformed", "signature"]
    (_, _, large) = await payment.world.rows("SELECT * FROM refused_notification ORDER BY id")
    assert large["body_bytes"] == 60_000
    assert len(large["evidence"]) == 4_096
    assert bytes(large["body_sha256"]) == hashlib.sha256(b"\xff" * 60_000).digest()


async def test_a_flood_of_forgeries_fills_no_table(payment: Payment) -> None:
    for turn in range(40):
        answer = await payment.notify(CASHIER.id, RawNotification({}, str(turn).encode()))
        assert answer.status_code == 400

    assert len(await refused(payment)) == 30


async def test_an_order_number_that_is_not_ours_at_this_channel_is_refused(
    payment: Payment, alipay: FakeCashier, wechatpay: FakeCashier
) -> None:
    order_id, number = await in_the_cashier(payment)
    paid = alipay.pay(number)

    answers = [
        await payment.notify(CASHIER.id, alipay.notification(new_id().hex, paid)),
        await payment.notify(CASHIER.id, alipay.notification(number.upper(), paid)),
        await payment.notify(CASHIER.id, alipay.notification("\x00", paid)),
        await payment.notify(OTHER_CASHIER.id, wechatpay.notification(number, paid)),
    ]

    assert {answer.status_code for answer in answers} == {400}
    assert await refused(payment) == ["other_attempt"] * 4
    assert (await payment.world.order(order_id))["status"] == "REQUESTED"


async def test_a_verifier_that_breaks_is_a_refusal_and_never_a_500(
    payment: Payment, alipay: FakeCashier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeCashier, "verify", lambda *_: 1 / 0)

    answer = await payment.notify(CASHIER.id, RawNotification({}, b"{}"))

    assert answer.status_code == 400
    assert await refused(payment) == ["malformed"]


async def test_a_channel_that_does_not_notify_here_is_404(payment: Payment) -> None:
    for channel in ("nobody", "bank-direct-debit"):
        answer = await payment.notify(channel, RawNotification({}, b"{}"))

        assert answer.status_code == 404
        assert answer.json()["code"] == "channel_not_notifying"


async def test_nothing_is_acknowledged_that_is_not_committed(
    payment: Payment, alipay: FakeCashier, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id, number = await in_the_cashier(payment)
    told = alipay.notification(number, alipay.pay(number))

    async def fail(*_: object, **__: object) -> None:
        raise Unavailable("database_away", "no COMMIT")

    with monkeypatch.context() as broken:
        broken.setattr("shared.runtime.database.unit_of_work.Unit.flush", fail)
        refusal = await payment.notify(CASHIER.id, told)
    kept = await notifications(payment)
    again = await payment.notify(CASHIER.id, told)

    assert (refusal.status_code, refusal.content) == (503, b"fail")
    assert kept == []
    assert again.content == b"success"
    assert (await payment.world.order(order_id))["status"] == "SETTLED"


async def test_money_after_the_close_and_after_the_failure_is_unexpected_money(
    payment: Payment, alipay: FakeCashier
) -> None:
    order_id, number = await in_the_cashier(payment)
    payment.world.clock.advance(timedelta(minutes=30))
    await payment.world.run_to_the_end()
    failed = await payment.world.order(order_id)

    answer = await payment.notify(CASHIER.id, alipay.notification(number, alipay.pay(number)))

    assert (failed["status"], failed["reason"]) == ("FAILED", "expired")
    assert answer.content == b"success"
    assert await payment.world.told_types() == ["PaymentFailed", "UnexpectedMoneyReceived"]
    assert (await payment.world.order(order_id))["status"] == "FAILED"


async def test_both_cashiers_paid_at_once_settle_one_and_tell_of_the_other(
    payment: Payment, alipay: FakeCashier, wechatpay: FakeCashier
) -> None:
    alipay.opens_late = True
    order_id, payer_id = await payment.an_order(channel=CASHIER.id)
    first = UUID((await payment.start(order_id, payer_id)).json()["attempt_id"]).hex
    other = await payment.start(order_id, payer_id, channel=OTHER_CASHIER.id)
    second = UUID(other.json()["attempt_id"]).hex

    await asyncio.gather(
        payment.notify(CASHIER.id, alipay.notification(first, alipay.pay(first))),
        payment.notify(OTHER_CASHIER.id, wechatpay.notification(second, wechatpay.pay(second))),
    )

    assert sorted(await payment.world.told_types()) == ["PaymentSettled", "UnexpectedMoneyReceived"]
    order = (await payment.read(order_id, payer_id)).json()
    assert order["status_for_person"]["headline"] == "您付了两次，多付的会退"
