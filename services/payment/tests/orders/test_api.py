"""What people see of an order over HTTP, and what others do not."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from services.payment.domain.payment_attempt import Call
from services.payment.tests.fake_channel import FakeChannel
from services.payment.tests.running_payment import Payment
from shared.kernel.ids import new_id


async def test_the_payer_reads_an_order_from_requested_to_settled(payment: Payment) -> None:
    order_id, payer_id = await payment.an_order()

    open_order = (await payment.read(order_id, payer_id)).json()
    await payment.world.run()
    settled = (await payment.read(order_id, payer_id)).json()

    assert open_order["id"] == str(order_id)
    assert open_order["status"] == "requested"
    assert open_order["amount_fen"] == 150_920
    assert open_order["currency"] == "CNY"
    assert open_order["channel"] == "bank-direct-debit"
    assert open_order["reason"] is None
    assert open_order["settled_at"] is None
    assert open_order["version"] == 1
    assert [attempt["status"] for attempt in open_order["attempts"]] == ["started"]
    assert set(open_order["attempts"][0]) == {"id", "channel", "status", "started_at"}
    assert open_order["status_for_person"]["headline"] == "正在向银行代扣查结果"
    assert settled["status"] == "settled"
    assert settled["version"] == 2
    assert settled["settled_at"] is not None
    assert settled["status_for_person"] == {
        "headline": "钱已收到，等税务入账",
        "explanation": settled["status_for_person"]["explanation"],
        "next_step": "不用做什么，这个页面可以关掉。",
        "next_update_by": None,
        "can_pay": False,
        "can_retry": False,
        "support": {"name": "税务缴费服务热线", "phone": "12366"},
    }


async def test_the_insured_person_reads_what_somebody_else_pays(payment: Payment) -> None:
    insured_person_id = new_id()
    order_id, _ = await payment.an_order(insured_person_id=insured_person_id)

    assert (await payment.read(order_id, insured_person_id)).status_code == 200


async def test_somebody_elses_order_and_no_order_answer_identically(payment: Payment) -> None:
    order_id, payer_id = await payment.an_order()
    stranger = new_id()

    answers = [await payment.read(order_id, stranger), await payment.read(new_id(), payer_id)]
    for asked in (order_id, new_id()):
        answers.append(
            await payment.http.post(
                f"/payment/v1/orders/{asked}/stream-tickets", headers=payment.as_person(stranger)
            )
        )

    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json()["code"] == "order_not_yet_known"
    assert {answer.headers["retry-after"] for answer in answers} == {"1"}


async def test_unknown_is_shown_truthfully(payment: Payment, bank: FakeChannel) -> None:
    order_id, payer_id = await payment.an_order()
    bank.inject("timeout_after_booking")
    await payment.world.run()

    order = (await payment.read(order_id, payer_id)).json()

    assert order["status"] == "requested"
    assert order["attempts"][0]["status"] == "unknown"
    status = order["status_for_person"]
    assert status["headline"] == "还没查到结果，请不要再付"
    assert (status["can_pay"], status["can_retry"]) == (False, False)
    promised = datetime.fromisoformat(status["next_update_by"])
    assert promised == payment.world.clock.now() + timedelta(minutes=15)


async def test_a_failed_order_gives_its_reason_and_a_way_on(
    payment: Payment, bank: FakeChannel
) -> None:
    order_id, payer_id = await payment.an_order()
    bank.inject("decline")
    await payment.world.run()

    order = (await payment.read(order_id, payer_id)).json()

    assert (order["status"], order["reason"]) == ("failed", "insufficient_funds")
    assert order["status_for_person"]["headline"] == "这次没付成，没有扣款"
    assert "银行代扣说：余额不足" in order["status_for_person"]["explanation"]
    assert order["status_for_person"]["can_retry"] is True


async def test_english_for_who_asks_for_it(payment: Payment, bank: FakeChannel) -> None:
    order_id, payer_id = await payment.an_order()
    bank.inject("error_500", count=1)
    bank.inject("error_500", on=Call.QUERY, count=100)
    await payment.world.run()
    english = {"Accept-Language": "en-GB,en;q=0.9,zh;q=0.1"}

    answer = await payment.read(order_id, payer_id, **english)

    status = answer.json()["status_for_person"]
    assert status["headline"] == "No result yet. Please do not pay again"
    assert status["support"]["name"] == "Tax service hotline"
    assert answer.headers["vary"] == "Accept-Language"


async def test_an_unchanged_order_is_not_sent_again(payment: Payment) -> None:
    order_id, payer_id = await payment.an_order()
    first = await payment.read(order_id, payer_id)
    tag = {"If-None-Match": first.headers["etag"]}

    unchanged = await payment.read(order_id, payer_id, **tag)
    in_english = await payment.read(order_id, payer_id, **tag, **{"Accept-Language": "en"})
    await payment.world.run()
    changed = await payment.read(order_id, payer_id, **tag)

    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["etag"] == first.headers["etag"]
    assert in_english.status_code == changed.status_code == 200
    assert first.headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/payment/v1/orders/{id}"),
        ("POST", "/payment/v1/orders/{id}/stream-tickets"),
        ("GET", "/payment/v1/channels"),
    ],
)
async def test_without_a_token_nothing_is_told(payment: Payment, method: str, path: str) -> None:
    order_id, _ = await payment.an_order()

    answer = await payment.http.request(method, path.format(id=order_id))

    assert answer.status_code == 401
    assert answer.json()["code"] == "token_missing"


@pytest.mark.parametrize("order_id", ["1", "x" * 300, "%00", "..%2f"])
async def test_a_malformed_id_is_a_problem_and_never_a_500(payment: Payment, order_id: str) -> None:
    answer = await payment.http.get(
        f"/payment/v1/orders/{order_id}", headers=payment.as_person(new_id())
    )

    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/problem+json"


async def test_nothing_internal_is_told(payment: Payment, bank: FakeChannel) -> None:
    order_id, payer_id = await payment.an_order()
    bank.inject("timeout_after_booking")
    await payment.world.run()

    told = (await payment.read(order_id, payer_id)).text

    for internal in ("lease", "send_count", "trade_no", "sequence", "due_at", str(payer_id)):
        assert internal not in told


async def test_ids_of_every_status_can_be_read(payment: Payment, bank: FakeChannel) -> None:
    """Each state that the loop can leave behind renders without an error."""
    seen = set()
    for fault in (None, "decline", "timeout_after_booking", "error_500"):
        order_id, payer_id = await payment.an_order()
        if fault:
            bank.inject(fault)
        await payment.world.run()
        answer = await payment.read(order_id, payer_id)
        assert UUID(answer.json()["id"]) == order_id
        seen.add(answer.json()["attempts"][0]["status"])

    assert seen == {"succeeded", "declined", "unknown"}
