"""Alipay's gateway as its documents describe it: signatures, states, codes, notifications."""

import json
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
import pytest

from sandbox.tests.merchant import AlipayMerchant, Mailbox, an_alipay_order
from sandbox.tests.running import eventually, make_past

QUERY = "alipay.trade.query"
CLOSE = "alipay.trade.close"
PRECREATE = "alipay.trade.precreate"


async def test_a_payer_pays_and_the_merchant_is_told(
    alipay: AlipayMerchant, sandbox: httpx2.AsyncClient, box: Mailbox
) -> None:
    order = an_alipay_order()
    cashier = await alipay.open(box, **order)
    page = await sandbox.get(cashier)

    paid = await sandbox.post(f"{cashier}/pay", follow_redirects=True)

    await eventually(lambda: _has(box, 1))
    [form] = [one.form for one in box.received]
    found = await alipay.call(QUERY, {"out_trade_no": order["out_trade_no"]})
    assert "确认付款" in page.text
    assert "付款成功" in paid.text
    assert alipay.is_genuine(form)
    assert form["trade_status"] == found["trade_status"] == "TRADE_SUCCESS"
    assert form["total_amount"] == found["total_amount"] == "1432.40"
    assert form["out_trade_no"] == order["out_trade_no"]
    assert form["trade_no"] == found["trade_no"]


async def test_an_order_that_nobody_opened_does_not_exist(
    alipay: AlipayMerchant, sandbox: httpx2.AsyncClient, box: Mailbox
) -> None:
    order = an_alipay_order()
    number = {"out_trade_no": order["out_trade_no"]}
    cashier = await alipay.open(box, **order)

    before = [await alipay.call(method, number) for method in (QUERY, CLOSE)]
    await sandbox.get(cashier)
    after = await alipay.call(QUERY, number)

    assert {one["sub_code"] for one in before} == {"ACQ.TRADE_NOT_EXIST"}
    assert after["trade_status"] == "WAIT_BUYER_PAY"


async def test_a_closed_trade_takes_no_money(
    alipay: AlipayMerchant, sandbox: httpx2.AsyncClient, box: Mailbox
) -> None:
    order = an_alipay_order()
    cashier = await alipay.open(box, **order)
    await sandbox.get(cashier)

    closed = await alipay.call(CLOSE, {"out_trade_no": order["out_trade_no"]})
    paid = await sandbox.post(f"{cashier}/pay")

    again = await alipay.call(CLOSE, {"out_trade_no": order["out_trade_no"]})
    found = await alipay.call(QUERY, {"out_trade_no": order["out_trade_no"]})
    assert (closed["code"], found["trade_status"]) == ("10000", "TRADE_CLOSED")
    assert (paid.status_code, "没有扣款" in paid.text) == (409, True)
    assert again["sub_code"] == "ACQ.REASON_TRADE_STATUS_INVALID"
    await eventually(lambda: _has(box, 1))
    assert box.received[0].form["trade_status"] == "TRADE_CLOSED"


async def test_a_trade_closes_by_itself_when_its_time_is_over(
    alipay: AlipayMerchant, sandbox: httpx2.AsyncClient, box: Mailbox
) -> None:
    order = an_alipay_order(time_expire="2020-01-01 00:00:00")
    cashier = await alipay.open(box, **order)

    page = await sandbox.get(cashier)
    paid = await sandbox.post(f"{cashier}/pay")

    assert "订单已关闭" in page.text
    assert paid.status_code == 409
    assert not box.received


async def test_an_open_trade_closes_at_its_end_and_the_merchant_is_told(
    alipay: AlipayMerchant, sandbox: httpx2.AsyncClient, box: Mailbox, sandbox_folder: Path
) -> None:
    order = an_alipay_order()
    cashier = await alipay.open(box, **order)
    await sandbox.get(cashier)

    make_past(sandbox_folder, "expires_at")

    await eventually(lambda: _has(box, 1))
    found = await alipay.call(QUERY, {"out_trade_no": order["out_trade_no"]})
    assert box.received[0].form["trade_status"] == found["trade_status"] == "TRADE_CLOSED"
    assert (await sandbox.post(f"{cashier}/pay")).status_code == 409


async def test_a_notification_is_repeated_until_the_answer_is_success(
    alipay: AlipayMerchant, sandbox: httpx2.AsyncClient, box: Mailbox
) -> None:
    box.answer = b"success "
    cashier = await alipay.open(box)

    await sandbox.post(f"{cashier}/pay")
    await eventually(lambda: _has(box, 2))
    box.answer = b"success"

    async def is_accepted() -> bool:
        [trade] = (await sandbox.get("/sandbox/v1/trades")).json()["items"]
        return trade["notifications"][0]["accepted_at"] is not None

    await eventually(is_accepted)
    assert len({one.form["notify_id"] for one in box.received}) == 1
    assert all(alipay.is_genuine(one.form) for one in box.received)


async def test_a_qr_code_leads_to_the_cashier(
    alipay: AlipayMerchant, sandbox: httpx2.AsyncClient, box: Mailbox
) -> None:
    order = an_alipay_order()

    made = await alipay.call(PRECREATE, order, notify_url=box.url)
    await sandbox.post(f"{made['qr_code']}/pay")

    again = await alipay.call(PRECREATE, order, notify_url=box.url)
    assert again["sub_code"] == "ACQ.TRADE_HAS_SUCCESS"


async def test_the_app_opens_its_order_string(
    alipay: AlipayMerchant, sandbox: httpx2.AsyncClient, box: Mailbox
) -> None:
    order = an_alipay_order(product_code="QUICK_MSECURITY_PAY")
    parameters = alipay.parameters("alipay.trade.app.pay", order, notify_url=box.url)

    opened = await sandbox.post("/cashier/alipay/app", content=urlencode(parameters).encode())
    altered = {**parameters, "notify_url": f"{box.url}/else"}
    refused = await sandbox.get(f"/cashier/alipay/app?{urlencode(altered)}")

    page = await sandbox.get(opened.headers["location"])
    assert "确认付款" in page.text
    assert refused.status_code == 400


async def test_the_same_order_with_another_content_is_refused(
    alipay: AlipayMerchant, box: Mailbox
) -> None:
    order = an_alipay_order()
    await alipay.call(PRECREATE, order, notify_url=box.url)

    other = await alipay.call(PRECREATE, {**order, "total_amount": "0.01"}, notify_url=box.url)

    assert other["sub_code"] == "ACQ.CONTEXT_INCONSISTENT"


async def test_the_way_back_carries_signed_parameters(
    alipay: AlipayMerchant, sandbox: httpx2.AsyncClient, box: Mailbox
) -> None:
    back = "http://127.0.0.1:1/payment/v1/returns/some-token"
    parameters = alipay.parameters(
        "alipay.trade.wap.pay", an_alipay_order(), notify_url=box.url, return_url=back
    )
    opened = await sandbox.post("/gateway.do", data=parameters)
    page = await sandbox.post(f"{opened.headers['location']}/pay", follow_redirects=True)

    link = page.text.partition('href="')[2].partition('"')[0].replace("&amp;", "&")

    assert link.startswith(f"{back}?")
    assert alipay.is_genuine(dict(parse_qsl(urlsplit(link).query)))


@pytest.mark.parametrize(
    ("changes", "sub_code"),
    [
        ({"app_id": "2021000000000002"}, "isv.invalid-app-id"),
        ({"app_id": ""}, "isv.missing-app-id"),
        ({"timestamp": "2020-01-01 00:00:00"}, "isv.invalid-timestamp"),
        ({"timestamp": "now"}, "isv.invalid-timestamp"),
        ({"charset": "gbk"}, "isv.invalid-charset"),
        ({"sign_type": "RSA"}, "isv.invalid-signature-type"),
        ({"version": "2.0"}, "isv.invalid-format"),
        ({"biz_content": "{"}, "ACQ.INVALID_PARAMETER"),
        ({"biz_content": '{"out_trade_no":"1","out_trade_no":"2"}'}, "ACQ.INVALID_PARAMETER"),
        ({"biz_content": '{"out_trade_no":"\\ud800"}'}, "ACQ.INVALID_PARAMETER"),
        ({"biz_content": '{"out_trade_no":7}'}, "ACQ.INVALID_PARAMETER"),
    ],
)
async def test_a_wrong_request_gets_a_signed_refusal(
    alipay: AlipayMerchant, changes: dict[str, str], sub_code: str
) -> None:
    answer = await alipay.call(QUERY, {"out_trade_no": "x"}, **changes)

    assert answer["sub_code"] == sub_code


async def test_an_altered_request_is_refused(
    alipay: AlipayMerchant, sandbox: httpx2.AsyncClient
) -> None:
    parameters = alipay.parameters(QUERY, {"out_trade_no": "1"})

    altered = {**parameters, "biz_content": json.dumps({"out_trade_no": "2"})}
    answer = await sandbox.post("/gateway.do", data=altered)

    assert alipay.verified(answer.text, QUERY)["sub_code"] == "isv.invalid-signature"


@pytest.mark.parametrize(
    "query", [b"", b"method=unknown", b"%ff=1", b"a=1&a=2", b"method=alipay.trade.query"]
)
async def test_what_is_no_request_at_all_gets_an_answer(
    sandbox: httpx2.AsyncClient, query: bytes
) -> None:
    answer = await sandbox.get(f"/gateway.do?{query.decode()}")

    assert answer.status_code == 200
    assert json.loads(answer.text)["sign"]


async def _has(box: Mailbox, count: int) -> bool:
    return len(box.received) >= count
