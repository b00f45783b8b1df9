"""WeChat Pay's API as its documents describe it: signatures both ways, orders, links, callbacks."""

import json
import secrets
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

import httpx2
import pytest
from cryptography import x509

from sandbox.tests.merchant import (
    AMOUNT_FEN,
    MERCHANT_ID,
    WX_APP_ID,
    Mailbox,
    WechatPayMerchant,
    a_wechatpay_order,
    signature,
)
from sandbox.tests.running import Json, eventually, make_past

ORDERS = "/v3/pay/transactions"


async def test_a_payer_pays_and_the_merchant_is_told(
    wechatpay: WechatPayMerchant, sandbox: httpx2.AsyncClient, box: Mailbox
) -> None:
    order = a_wechatpay_order(box)
    started = await wechatpay.call("POST", f"{ORDERS}/h5", order)
    before = await _query(wechatpay, order)

    paid = await _pay(sandbox, started.json()["h5_url"])

    await eventually(lambda: _has(box, 1))
    [notification] = box.received
    told, found = wechatpay.trade_in(notification), await _query(wechatpay, order)
    assert wechatpay.is_genuine(notification.headers, notification.body)
    assert before["trade_state"] == "NOTPAY"
    assert "付款成功" in paid.text
    assert told == found
    assert (found["trade_state"], found["trade_type"]) == ("SUCCESS", "MWEB")
    assert found["amount"] == {
        "total": AMOUNT_FEN,
        "payer_total": AMOUNT_FEN,
        "currency": "CNY",
        "payer_currency": "CNY",
    }


async def test_answers_are_signed_with_the_key_that_the_request_names(
    wechatpay: WechatPayMerchant, box: Mailbox
) -> None:
    order = a_wechatpay_order(box)

    for serial in wechatpay.platform:
        answer = await wechatpay.call("POST", f"{ORDERS}/h5", order, serial=serial)
        assert answer.headers["wechatpay-serial"] == serial
        assert wechatpay.is_genuine(answer.headers, answer.content)


async def test_callbacks_are_signed_with_either_key(
    wechatpay: WechatPayMerchant, sandbox: httpx2.AsyncClient, box: Mailbox
) -> None:
    for _ in range(16):
        started = await wechatpay.call("POST", f"{ORDERS}/native", a_wechatpay_order(box))
        await _pay(sandbox, started.json()["code_url"])

    await eventually(lambda: _has(box, 16))
    assert {one.headers["wechatpay-serial"] for one in box.received} == set(wechatpay.platform)
    assert all(wechatpay.is_genuine(one.headers, one.body) for one in box.received)


async def test_the_certificate_comes_encrypted(wechatpay: WechatPayMerchant) -> None:
    answer = await wechatpay.call("GET", "/v3/certificates")

    [item] = answer.json()["data"]
    pem = wechatpay.opened(item["encrypt_certificate"])
    certificate = x509.load_pem_x509_certificate(pem.encode())
    assert f"{certificate.serial_number:X}" == item["serial_no"]
    assert certificate.public_key() == wechatpay.platform[item["serial_no"]]


async def test_closing_answers_204_and_takes_no_money_any_more(
    wechatpay: WechatPayMerchant, sandbox: httpx2.AsyncClient, box: Mailbox
) -> None:
    order = a_wechatpay_order(box)
    started = await wechatpay.call("POST", f"{ORDERS}/h5", order)

    closed = await _close(wechatpay, order)
    paid = await _pay(sandbox, started.json()["h5_url"])

    again = await _close(wechatpay, order)
    assert (closed.status_code, closed.content) == (204, b"")
    assert wechatpay.is_genuine(closed.headers, closed.content)
    assert (paid.status_code, "没有扣款" in paid.text) == (409, True)
    assert (await _query(wechatpay, order))["trade_state"] == "CLOSED"
    assert (again.status_code, again.json()["code"]) == (400, "ORDER_CLOSED")
    assert not box.received


async def test_identical_parameters_renew_the_link_and_others_are_refused(
    wechatpay: WechatPayMerchant, box: Mailbox
) -> None:
    order = a_wechatpay_order(box)

    first = await wechatpay.call("POST", f"{ORDERS}/h5", order)
    second = await wechatpay.call("POST", f"{ORDERS}/h5", order)
    other = await wechatpay.call(
        "POST", f"{ORDERS}/h5", {**order, "amount": {"total": 1, "currency": "CNY"}}
    )

    assert first.json() == second.json()
    assert (other.status_code, other.json()["code"]) == (403, "OUT_TRADE_NO_USED")


async def test_an_old_link_is_dead_until_it_is_asked_for_again(
    wechatpay: WechatPayMerchant, sandbox: httpx2.AsyncClient, box: Mailbox, sandbox_folder: Path
) -> None:
    order = a_wechatpay_order(box)
    link = (await wechatpay.call("POST", f"{ORDERS}/h5", order)).json()["h5_url"]
    make_past(sandbox_folder, "link_expires_at")

    page, refused = await sandbox.get(link), await _pay(sandbox, link)
    await wechatpay.call("POST", f"{ORDERS}/h5", order)
    paid = await _pay(sandbox, link)

    assert "链接已过时" in page.text
    assert refused.status_code == 409
    assert (await _query(wechatpay, order))["trade_state"] == "SUCCESS"
    assert "付款成功" in paid.text


async def test_an_order_closes_at_its_end(
    wechatpay: WechatPayMerchant, box: Mailbox, sandbox_folder: Path
) -> None:
    order = a_wechatpay_order(box)
    await wechatpay.call("POST", f"{ORDERS}/h5", order)

    make_past(sandbox_folder, "expires_at")

    assert (await _query(wechatpay, order))["trade_state"] == "CLOSED"
    again = await wechatpay.call("POST", f"{ORDERS}/h5", order)
    assert (again.status_code, again.json()["code"]) == (400, "ORDER_CLOSED")


async def test_another_payer_is_refused_under_the_same_number(
    wechatpay: WechatPayMerchant, box: Mailbox
) -> None:
    order = a_wechatpay_order(box)

    first = await wechatpay.call("POST", f"{ORDERS}/jsapi", order)
    other = await wechatpay.call(
        "POST", f"{ORDERS}/jsapi", {**order, "payer": {"openid": "o-another"}}
    )
    again = await wechatpay.call("POST", f"{ORDERS}/jsapi", order)

    assert (other.status_code, other.json()["code"]) == (403, "OUT_TRADE_NO_USED")
    assert first.json() == again.json()


@pytest.mark.parametrize("kind", ["jsapi", "app"])
async def test_the_client_opens_what_the_merchant_signed(
    wechatpay: WechatPayMerchant, sandbox: httpx2.AsyncClient, box: Mailbox, kind: str
) -> None:
    started = await wechatpay.call("POST", f"{ORDERS}/{kind}", a_wechatpay_order(box))
    fields = _client_fields(wechatpay, kind, started.json()["prepay_id"])

    opened = await sandbox.get(f"/cashier/wechatpay/client?{urlencode(fields)}")
    altered = {name: f"{value}x" for name, value in fields.items()}
    refused = await sandbox.get(f"/cashier/wechatpay/client?{urlencode(altered)}")

    page = await sandbox.get(opened.headers["location"])
    assert "确认付款" in page.text
    assert refused.status_code == 400


async def test_a_callback_is_accepted_by_its_status_alone(
    wechatpay: WechatPayMerchant, sandbox: httpx2.AsyncClient, box: Mailbox
) -> None:
    box.status, box.answer = 500, b'{"code":"FAIL"}'
    started = await wechatpay.call("POST", f"{ORDERS}/h5", a_wechatpay_order(box))

    await _pay(sandbox, started.json()["h5_url"])
    await eventually(lambda: _has(box, 3))
    box.status = 200

    async def is_accepted() -> bool:
        [trade] = (await sandbox.get("/sandbox/v1/trades")).json()["items"]
        return trade["notifications"][0]["accepted_at"] is not None

    await eventually(is_accepted)
    assert len({json.loads(one.body)["id"] for one in box.received}) == 1


async def test_probes_are_sent_on_demand(
    wechatpay: WechatPayMerchant, sandbox: httpx2.AsyncClient, box: Mailbox
) -> None:
    for kind in ("signtest", "security_echo"):
        body = {"kind": kind, "notify_url": box.url}
        answer = await sandbox.post("/sandbox/v1/probes", json=body)
        assert answer.json() == {"answer_status": 200, "answer": "success"}

    signtest, echo = box.received
    assert signtest.headers["wechatpay-signature"].startswith("WECHATPAY/SIGNTEST/")
    assert wechatpay.is_genuine(echo.headers, echo.body)
    assert json.loads(echo.body)["event_type"] == "SECURITY_ECHO.SUCCESS"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"appid": "wx1"}, "APPID_MCHID_NOT_MATCH"),
        ({"amount": {"total": "1", "currency": "CNY"}}, "PARAM_ERROR"),
        ({"amount": {"total": True, "currency": "CNY"}}, "PARAM_ERROR"),
        ({"amount": {"total": 1, "currency": "USD"}}, "PARAM_ERROR"),
        ({"amount": 1}, "PARAM_ERROR"),
        ({"out_trade_no": "a b"}, "PARAM_ERROR"),
        ({"out_trade_no": "1" * 33}, "PARAM_ERROR"),
        ({"notify_url": "http://127.0.0.1/?a=1"}, "PARAM_ERROR"),
        ({"notify_url": "ftp://127.0.0.1/"}, "PARAM_ERROR"),
        ({"scene_info": None}, "PARAM_ERROR"),
        ({"time_expire": "2020-01-01T00:00:00+08:00"}, "PARAM_ERROR"),
        ({"time_expire": "2020-13-01T00:00:00+08:00"}, "PARAM_ERROR"),
        ({"description": ""}, "PARAM_ERROR"),
    ],
)
async def test_a_wrong_order_gets_a_signed_refusal(
    wechatpay: WechatPayMerchant, box: Mailbox, changes: Json, code: str
) -> None:
    answer = await wechatpay.call("POST", f"{ORDERS}/h5", a_wechatpay_order(box, **changes))

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert wechatpay.is_genuine(answer.headers, answer.content)


async def test_an_unknown_order_does_not_exist(wechatpay: WechatPayMerchant) -> None:
    path = f"{ORDERS}/out-trade-no/{uuid4().hex}?mchid={MERCHANT_ID}"

    answer = await wechatpay.call("GET", path)

    assert (answer.status_code, answer.json()["code"]) == (404, "ORDER_NOT_EXIST")


@pytest.mark.parametrize("age", [301, -301])
async def test_an_old_request_is_refused(wechatpay: WechatPayMerchant, age: int) -> None:
    answer = await wechatpay.call("GET", "/v3/certificates", age=age)

    assert (answer.status_code, answer.json()["code"]) == (401, "SIGN_ERROR")


@pytest.mark.parametrize("header", ["", "Basic x", "WECHATPAY2-SHA256-RSA2048 mchid=1"])
async def test_a_request_without_signature_is_refused(
    sandbox: httpx2.AsyncClient, header: str
) -> None:
    answer = await sandbox.get("/v3/certificates", headers={"authorization": header})

    assert (answer.status_code, answer.json()["code"]) == (401, "SIGN_ERROR")


def _client_fields(wechatpay: WechatPayMerchant, kind: str, prepay_id: str) -> dict[str, str]:
    at, nonce = str(int(datetime.now(UTC).timestamp())), secrets.token_hex(8)
    package = f"prepay_id={prepay_id}" if kind == "jsapi" else prepay_id
    signed = signature(wechatpay.key, f"{WX_APP_ID}\n{at}\n{nonce}\n{package}\n")
    if kind == "jsapi":
        return {
            "appId": WX_APP_ID,
            "timeStamp": at,
            "nonceStr": nonce,
            "package": package,
            "signType": "RSA",
            "paySign": signed,
        }
    return {
        "appid": WX_APP_ID,
        "partnerid": MERCHANT_ID,
        "prepayid": prepay_id,
        "package": "Sign=WXPay",
        "noncestr": nonce,
        "timestamp": at,
        "sign": signed,
    }


async def _pay(sandbox: httpx2.AsyncClient, cashier: str) -> httpx2.Response:
    address, _, query = cashier.partition("?")
    return await sandbox.post(f"{address}/pay?{query}", follow_redirects=True)


async def _query(wechatpay: WechatPayMerchant, order: Json) -> Json:
    path = f"{ORDERS}/out-trade-no/{order['out_trade_no']}?mchid={MERCHANT_ID}"
    answer = await wechatpay.call("GET", path)
    assert wechatpay.is_genuine(answer.headers, answer.content)
    found: Json = answer.json()
    return found


async def _close(wechatpay: WechatPayMerchant, order: Json) -> httpx2.Response:
    path = f"{ORDERS}/out-trade-no/{order['out_trade_no']}/close"
    return await wechatpay.call("POST", path, {"mchid": MERCHANT_ID})


async def _has(box: Mailbox, count: int) -> bool:
    return len(box.received) >= count
