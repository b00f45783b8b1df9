"""Every lie of the cashier channels, on both of them, seen from the merchant's side."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from sandbox.tests.merchant import (
    APP_ID,
    MERCHANT_ID,
    SELLER_ID,
    AlipayMerchant,
    Mailbox,
    Received,
    WechatPayMerchant,
    a_wechatpay_order,
    an_alipay_order,
)
from sandbox.tests.running import a_fault, eventually

FAULTS = "/sandbox/v1/faults"
ORDERS = "/v3/pay/transactions"


@dataclass
class Seat:
    """One channel behind the same few verbs."""

    name: str
    alipay: AlipayMerchant
    wechatpay: WechatPayMerchant
    sandbox: httpx2.AsyncClient
    box: Mailbox

    async def start(self, order: str) -> str:
        """The cashier's address."""
        if self.name == "alipay":
            business = an_alipay_order(out_trade_no=order)
            found = await self.alipay.call(
                "alipay.trade.precreate", business, notify_url=self.box.url
            )
            return found["qr_code"]
        body = a_wechatpay_order(self.box, out_trade_no=order)
        answer = await self.wechatpay.call("POST", f"{ORDERS}/native", body)
        address: str = answer.json()["code_url"]
        return address

    async def query(self, order: str) -> tuple[str, int]:
        """The state and the amount in fen."""
        if self.name == "alipay":
            found = await self.alipay.call("alipay.trade.query", {"out_trade_no": order})
            return found["trade_status"], int(found["total_amount"].replace(".", ""))
        path = f"{ORDERS}/out-trade-no/{order}?mchid={MERCHANT_ID}"
        answer = (await self.wechatpay.call("GET", path)).json()
        return answer["trade_state"], answer["amount"]["total"]

    async def raw_query(self, order: str) -> str:
        if self.name == "alipay":
            parameters = self.alipay.parameters("alipay.trade.query", {"out_trade_no": order})
            return (await self.sandbox.post("/gateway.do", data=parameters)).text
        path = f"{ORDERS}/out-trade-no/{order}?mchid={MERCHANT_ID}"
        answer = await self.wechatpay.call("GET", path)
        assert self.wechatpay.is_genuine(answer.headers, answer.content)
        return answer.text

    async def close(self, order: str) -> None:
        if self.name == "alipay":
            found = await self.alipay.call("alipay.trade.close", {"out_trade_no": order})
            assert found["code"] == "10000"
            return
        path = f"{ORDERS}/out-trade-no/{order}/close"
        answer = await self.wechatpay.call("POST", path, {"mchid": MERCHANT_ID})
        assert answer.status_code == 204

    async def pay(self, order: str) -> httpx2.Response:
        cashier = await self.start(order)
        await self.sandbox.get(cashier)
        return await self.sandbox.post(f"{cashier}/pay")

    async def fault(self, kind: str, **more: object) -> None:
        answer = await self.sandbox.post(FAULTS, json=a_fault(self.name, kind, **more))
        assert answer.status_code == 201, answer.text

    def is_genuine(self, one: Received) -> bool:
        if self.name == "alipay":
            return self.alipay.is_genuine(one.form)
        return self.wechatpay.is_genuine(one.headers, one.body)

    def told_fen(self, one: Received) -> int:
        if self.name == "alipay":
            return int(one.form["total_amount"].replace(".", ""))
        amount: Any = self.wechatpay.trade_in(one)["amount"]
        found: int = amount["total"]
        return found

    def told_merchant(self, one: Received) -> tuple[object, object]:
        if self.name == "alipay":
            return one.form["app_id"], one.form["seller_id"]
        trade = self.wechatpay.trade_in(one)
        return trade["appid"], trade["mchid"]

    async def in_the_book(self, order: str) -> dict[str, Any]:
        answer = await self.sandbox.get(f"/sandbox/v1/trades/{self.name}/{order}")
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture(params=["alipay", "wechatpay"])
def seat(
    request: pytest.FixtureRequest,
    alipay: AlipayMerchant,
    wechatpay: WechatPayMerchant,
    sandbox: httpx2.AsyncClient,
    box: Mailbox,
) -> Seat:
    return Seat(request.param, alipay, wechatpay, sandbox, box)


@pytest.fixture
def order() -> str:
    return uuid4().hex


async def test_a_silent_channel_says_it_only_when_asked(seat: Seat, order: str) -> None:
    await seat.fault("never_notify", order=order)
    other = uuid4().hex

    await seat.pay(order)
    await seat.pay(other)

    await eventually(lambda: _has(seat.box, 1))
    book = await seat.in_the_book(order)
    assert (await seat.query(order))[0] in ("TRADE_SUCCESS", "SUCCESS")
    assert book["notifications"][0]["sent_count"] == 0
    assert [one["out_trade_no"] for one in await _told(seat)] == [other]


async def test_a_notification_comes_in_number_at_once(seat: Seat, order: str) -> None:
    await seat.fault("notify_times", times=8)

    await seat.pay(order)

    await eventually(lambda: _has(seat.box, 8))
    assert len(seat.box.received) == 8
    assert all(seat.is_genuine(one) for one in seat.box.received)


async def test_news_of_the_payment_comes_late(seat: Seat, order: str) -> None:
    await seat.fault("out_of_order", delay_ms=400)

    began = time.monotonic()
    await seat.pay(order)
    asked = await seat.query(order)
    count = 2 if seat.name == "alipay" else 1
    await eventually(lambda: _has(seat.box, count))

    assert asked[0] in ("TRADE_FINISHED", "SUCCESS")
    assert seat.box.received[-1].at - began >= 0.4
    if seat.name == "alipay":
        states = [one.form["trade_status"] for one in seat.box.received]
        assert states == ["TRADE_FINISHED", "TRADE_SUCCESS"]


async def test_a_notification_comes_before_the_answer(seat: Seat, order: str) -> None:
    await seat.fault("notify_before_answer")

    await seat.start(order)

    assert len(seat.box.received) == 1
    assert seat.is_genuine(seat.box.received[0])


async def test_a_forged_notification_is_followed_by_a_true_one(seat: Seat, order: str) -> None:
    await seat.fault("forged_signature", count=1)
    seat.box.status = 401

    await seat.pay(order)

    await eventually(lambda: _has(seat.box, 2))
    assert [seat.is_genuine(one) for one in seat.box.received[:2]] == [False, True]


async def test_a_stale_notification_is_signed_truly(seat: Seat, order: str) -> None:
    await seat.fault("stale_timestamp")

    await seat.pay(order)

    await eventually(lambda: _has(seat.box, 1))
    [one] = seat.box.received
    assert seat.is_genuine(one)
    if seat.name == "wechatpay":
        assert time.time() - int(one.headers["wechatpay-timestamp"]) >= 300


async def test_a_notification_of_another_merchant_is_signed_truly(seat: Seat, order: str) -> None:
    await seat.fault("other_merchant")

    await seat.pay(order)

    await eventually(lambda: _has(seat.box, 1))
    [one] = seat.box.received
    app_id, merchant_id = seat.told_merchant(one)
    assert seat.is_genuine(one)
    assert app_id != (APP_ID if seat.name == "alipay" else "wx0000000000000001")
    assert merchant_id not in (SELLER_ID, MERCHANT_ID)


async def test_a_wrong_amount_is_taken_and_told_alike(seat: Seat, order: str) -> None:
    await seat.fault("wrong_amount")

    await seat.pay(order)

    await eventually(lambda: _has(seat.box, 1))
    assert seat.told_fen(seat.box.received[0]) == 143_241
    assert (await seat.query(order))[1] == 143_241
    assert (await seat.in_the_book(order))["paid_fen"] == 143_241


async def test_a_wrong_amount_may_be_told_alone(seat: Seat, order: str) -> None:
    await seat.fault("wrong_amount", on="notify")

    await seat.pay(order)

    await eventually(lambda: _has(seat.box, 1))
    assert seat.told_fen(seat.box.received[0]) == 143_241
    assert (await seat.query(order))[1] == 143_240


async def test_money_comes_after_closing(seat: Seat, order: str) -> None:
    await seat.fault("pay_after_close")
    cashier = await seat.start(order)
    await seat.sandbox.get(cashier)

    await seat.close(order)

    async def is_paid() -> bool:
        return (await seat.query(order))[0] in ("TRADE_SUCCESS", "SUCCESS")

    await eventually(is_paid)
    await eventually(lambda: _has(seat.box, 1))
    assert (await seat.in_the_book(order))["closed_at"] is not None


async def test_a_declined_payer_may_try_again(seat: Seat, order: str) -> None:
    await seat.fault("decline", count=1)

    declined = await seat.pay(order)
    open_still = await seat.query(order)
    paid = await seat.pay(order)

    assert (declined.status_code, "没有扣款" in declined.text) == (409, True)
    assert open_still[0] in ("WAIT_BUYER_PAY", "NOTPAY")
    assert paid.status_code == 303


async def test_paying_twice_pays_once(seat: Seat, order: str) -> None:
    cashier = await seat.start(order)

    answers = await asyncio.gather(*(seat.sandbox.post(f"{cashier}/pay") for _ in range(10)))

    book = await seat.in_the_book(order)
    assert {answer.status_code for answer in answers} == {303}
    assert len(book["notifications"]) == 1


@pytest.mark.parametrize("kind", ["error_500", "error_500_after_booking"])
async def test_an_error_may_have_booked(seat: Seat, order: str, kind: str) -> None:
    await seat.fault(kind, count=1, order=order)

    with pytest.raises((KeyError, AssertionError)):
        await seat.start(order)

    answer = await seat.sandbox.get(f"/sandbox/v1/trades/{seat.name}/{order}")
    assert answer.status_code == (200 if kind == "error_500_after_booking" else 404)


@pytest.mark.parametrize(
    "kind",
    [
        "answer_huge",
        "answer_wrong_type",
        "answer_duplicate_keys",
        "answer_not_json",
        "answer_other_order",
    ],
)
async def test_a_hostile_answer_is_signed_truly(seat: Seat, order: str, kind: str) -> None:
    await seat.pay(order)
    true = await seat.raw_query(order)
    await seat.fault(kind, count=1)

    hostile = await seat.raw_query(order)

    assert _unsigned(hostile) != _unsigned(true)
    assert _unsigned(await seat.raw_query(order)) == _unsigned(true)
    if kind == "answer_other_order":
        assert order not in hostile
    if kind == "answer_huge":
        assert len(hostile) > 1_000_000


def _unsigned(answer: str) -> str:
    return answer.partition(',"sign":')[0]


async def _told(seat: Seat) -> list[dict[str, Any]]:
    if seat.name == "alipay":
        return [dict(one.form) for one in seat.box.received]
    return [seat.wechatpay.trade_in(one) for one in seat.box.received]


async def _has(box: Mailbox, count: int) -> bool:
    return len(box.received) >= count
