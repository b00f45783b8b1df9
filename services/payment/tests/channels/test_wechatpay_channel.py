"""Our WeChat Pay adapter: what it sends, what it believes, and what it never believes."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from services.payment.adapters.channels.rsa_signatures import is_signed
from services.payment.adapters.wechatpay.signing import request_message
from services.payment.application.ports import CashierChannel, PayerDetails
from services.payment.domain.channel_answer import (
    AwaitingPayer,
    ChannelAnswer,
    Closed,
    NotThere,
    Succeeded,
    Unknown,
    UnknownCause,
)
from services.payment.domain.channel_notification import (
    NotificationRefused,
    RawNotification,
    RefusalReason,
)
from services.payment.domain.next_action import (
    OrderedOtherwise,
    QrCode,
    Redirect,
    SdkFields,
    StartAnswer,
    Started,
)
from services.payment.tests.building import AMOUNT
from services.payment.tests.cashier_attempts import a_due_attempt
from services.payment.tests.cashier_wire import (
    NOW,
    NUMBER,
    PUBLIC_KEY_ID,
    RETURN_URL,
    SERIAL,
    Handler,
    WechatpaySide,
    write,
)
from services.payment.tests.channel_keys import an_rsa_key
from testing.clock import FixedClock

NONSENSE = Unknown(UnknownCause.NONSENSE)
SERVER_ERROR = Unknown(UnknownCause.SERVER_ERROR)
PAID_AT = datetime(2026, 11, 24, 4, 29, 57, tzinfo=UTC)
PAID = Succeeded("4200002026112400000001", AMOUNT, PAID_AT)
DUE = a_due_attempt("wechatpay")
H5_URL = "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx1&package=2"
CREATED = {"h5_url": H5_URL, "code_url": "weixin://wxpay/bizpayurl?pr=1", "prepay_id": "wx2014"}
H5 = PayerDetails(method="h5", client_address="203.0.113.7", return_url=RETURN_URL)


@pytest.fixture(scope="module")
def wechatpay(tmp_path_factory: pytest.TempPathFactory) -> WechatpaySide:
    return WechatpaySide(tmp_path_factory.mktemp("wechatpay"))


def nobody(_: httpx2.Request) -> httpx2.Response:
    raise AssertionError("nothing is to be sent")


def always(response: httpx2.Response) -> Handler:
    return lambda _: response


async def query(wechatpay: WechatpaySide, response: httpx2.Response) -> ChannelAnswer:
    return await wechatpay.channel(always(response)).query(DUE)


async def started(wechatpay: WechatpaySide, payer: PayerDetails) -> tuple[Started, httpx2.Request]:
    seen: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return wechatpay.reply(200, CREATED)

    answer = await wechatpay.channel(handler).start(DUE, payer)
    assert isinstance(answer, Started)
    return answer, seen[0]


def check_signed(wechatpay: WechatpaySide, request: httpx2.Request) -> None:
    authorization = request.headers["authorization"]
    scheme, _, rest = authorization.partition(" ")
    fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    message = request_message(
        request.method,
        request.url.raw_path.decode(),
        int(fields["timestamp"]),
        fields["nonce_str"],
        request.content.decode(),
    )
    assert scheme == "WECHATPAY2-SHA256-RSA2048"
    assert is_signed(wechatpay.merchant.public_key(), message, fields["signature"])
    assert (fields["mchid"], fields["serial_no"]) == ("1900000001", "A1B2C3D4")
    assert fields["timestamp"] == str(int(NOW.timestamp()))
    assert request.headers["accept"] == "application/json"
    assert request.headers["user-agent"] == "songhe-payment"
    assert request.headers["wechatpay-serial"] == PUBLIC_KEY_ID


def refusal(channel: CashierChannel, notification: RawNotification) -> RefusalReason:
    with pytest.raises(NotificationRefused) as refused:
        channel.verify(notification)
    return refused.value.reason


async def test_h5_opens_with_a_link_of_five_minutes(wechatpay: WechatpaySide) -> None:
    answer, request = await started(wechatpay, H5)

    check_signed(wechatpay, request)
    assert request.url.path == "/v3/pay/transactions/h5"
    assert json.loads(request.content) == {
        "appid": "wx0000000000000001",
        "mchid": "1900000001",
        "description": "基本养老保险费 2026-11",
        "out_trade_no": NUMBER,
        "time_expire": "2026-11-24T13:00:00+08:00",
        "notify_url": "https://pay.example.org/payment/v1/channels/wechatpay/notifications",
        "amount": {"total": 150920, "currency": "CNY"},
        "scene_info": {"payer_client_ip": "203.0.113.7", "h5_info": {"type": "Wap"}},
    }
    assert isinstance(answer.next_action, Redirect)
    assert answer.next_action.url.startswith(f"{H5_URL}&redirect_url=")
    assert parse_qs(urlsplit(answer.next_action.url).query)["redirect_url"] == [RETURN_URL]
    assert answer.expires_at == NOW + timedelta(minutes=5)


async def test_asking_again_asks_for_exactly_the_same(wechatpay: WechatpaySide) -> None:
    _, first = await started(wechatpay, H5)
    _, second = await started(wechatpay, H5)

    assert first.content == second.content


async def test_a_page_inside_wechat_gets_signed_fields(wechatpay: WechatpaySide) -> None:
    payer = PayerDetails(method="jsapi", openid="o-payer-of-a-test")

    answer, request = await started(wechatpay, payer)

    assert json.loads(request.content)["payer"] == {"openid": "o-payer-of-a-test"}
    assert isinstance(answer.next_action, SdkFields)
    fields = dict(answer.next_action.fields)
    assert fields["package"] == "prepay_id=wx2014"
    assert fields["signType"] == "RSA"
    signed = (
        f"{fields['appId']}\n{fields['timeStamp']}\n{fields['nonceStr']}\n{fields['package']}\n"
    )
    assert is_signed(wechatpay.merchant.public_key(), signed.encode(), fields["paySign"])
    assert answer.expires_at == DUE.attempt.expires_at


async def test_an_app_gets_signed_fields(wechatpay: WechatpaySide) -> None:
    answer, request = await started(wechatpay, PayerDetails(method="app"))

    assert isinstance(answer.next_action, SdkFields)
    fields = dict(answer.next_action.fields)
    signed = f"{fields['appid']}\n{fields['timestamp']}\n{fields['noncestr']}\nwx2014\n"
    assert is_signed(wechatpay.merchant.public_key(), signed.encode(), fields["sign"])
    assert fields["partnerid"] == "1900000001"
    assert fields["package"] == "Sign=WXPay"
    assert "payer" not in json.loads(request.content)


async def test_a_qr_code_is_for_another_phone(wechatpay: WechatpaySide) -> None:
    answer, _ = await started(wechatpay, PayerDetails(method="native"))

    assert answer.next_action == QrCode("weixin://wxpay/bizpayurl?pr=1")


@pytest.mark.parametrize(
    "created",
    [
        {},
        {"h5_url": "javascript:alert(1)"},
        {"h5_url": "https://wx.tenpay.com/ x"},
        {"h5_url": None},
        {"h5_url": 7},
        {"prepay_id": "wx2014"},
    ],
)
async def test_a_created_order_without_a_link_is_nonsense(
    wechatpay: WechatpaySide, created: dict[str, Any]
) -> None:
    answer = await wechatpay.channel(lambda _: wechatpay.reply(200, created)).start(DUE, H5)

    assert answer == NONSENSE


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, PAID),
        # What went back later was paid once.
        ({"trade_state": "REFUND"}, PAID),
        ({"trade_state": "NOTPAY"}, AwaitingPayer()),
        ({"trade_state": "USERPAYING"}, AwaitingPayer()),
        ({"trade_state": "ACCEPT"}, AwaitingPayer()),
        ({"trade_state": "PAYERROR"}, AwaitingPayer()),
        ({"trade_state": "CLOSED"}, Closed()),
        ({"trade_state": "REVOKED"}, Closed()),
    ],
)
async def test_a_query_tells_the_state_of_the_order(
    wechatpay: WechatpaySide, changes: dict[str, Any], expected: ChannelAnswer
) -> None:
    assert (
        await query(wechatpay, wechatpay.reply(200, wechatpay.transaction(**changes))) == expected
    )


async def test_a_query_is_signed_over_path_and_query(wechatpay: WechatpaySide) -> None:
    seen: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return wechatpay.reply(200, wechatpay.transaction())

    await wechatpay.channel(handler).query(DUE)

    check_signed(wechatpay, seen[0])
    assert seen[0].url.raw_path.decode() == (
        f"/v3/pay/transactions/out-trade-no/{NUMBER}?mchid=1900000001"
    )


async def test_not_there_needs_the_channels_own_word(wechatpay: WechatpaySide) -> None:
    own_word = {"code": "ORDER_NOT_EXIST", "message": "订单不存在"}

    for response in (
        wechatpay.reply(404, own_word),
        httpx2.Response(404, content=json.dumps(own_word).encode()),
    ):
        channel = wechatpay.channel(always(response))
        assert await channel.query(DUE) == NotThere()
        assert await channel.close(DUE) == NotThere()
        assert await channel.start(DUE, H5) == SERVER_ERROR
    assert await query(wechatpay, httpx2.Response(404, content=b"page not found")) == SERVER_ERROR
    forged = httpx2.Response(
        404, content=json.dumps(own_word).encode(), headers=wechatpay.headers(b"{}")
    )
    assert await query(wechatpay, forged) == NONSENSE


async def test_closing_says_closed_only_when_it_is(wechatpay: WechatpaySide) -> None:
    assert await wechatpay.channel(lambda _: wechatpay.reply(204, b"")).close(DUE) == Closed()
    assert await wechatpay.channel(lambda _: httpx2.Response(204)).close(DUE) == NONSENSE

    for code, state, expected in (
        ("ORDERPAID", "SUCCESS", PAID),
        ("ORDER_CLOSED", "CLOSED", Closed()),
        ("TRADE_ERROR", "NOTPAY", SERVER_ERROR),
    ):

        def handler(
            request: httpx2.Request, code: str = code, state: str = state
        ) -> httpx2.Response:
            if request.method == "POST":
                return wechatpay.reply(400, {"code": code, "message": "-"})
            return wechatpay.reply(200, wechatpay.transaction(trade_state=state))

        assert await wechatpay.channel(handler).close(DUE) == expected


async def test_an_order_that_was_paid_is_found_when_it_is_started_again(
    wechatpay: WechatpaySide,
) -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            return wechatpay.reply(403, {"code": "ORDERPAID", "message": "-"})
        return wechatpay.reply(200, wechatpay.transaction())

    assert await wechatpay.channel(handler).start(DUE, H5) == PAID


@pytest.mark.parametrize(
    ("code", "state", "expected"),
    [
        ("OUT_TRADE_NO_USED", "NOTPAY", OrderedOtherwise()),
        ("OUT_TRADE_NO_USED", "SUCCESS", PAID),
        ("OUT_TRADE_NO_USED", "CLOSED", Closed()),
        ("TRADE_ERROR", "NOTPAY", SERVER_ERROR),
    ],
)
async def test_a_used_number_is_no_silence(
    wechatpay: WechatpaySide, code: str, state: str, expected: StartAnswer
) -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            return wechatpay.reply(403, {"code": code, "message": "201 商户订单号重复"})
        return wechatpay.reply(200, wechatpay.transaction(trade_state=state))

    assert await wechatpay.channel(handler).start(DUE, H5) == expected


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "PARAM_ERROR"),
        (401, "SIGN_ERROR"),
        (403, "NO_AUTH"),
        (403, "RULE_LIMIT"),
        (202, "USERPAYING"),
        (429, "FREQUENCY_LIMITED"),
        (500, "SYSTEM_ERROR"),
        (500, "BANK_ERROR"),
        (503, "SERVICE_UNAVAILABLE"),
    ],
)
async def test_an_error_is_unknown_whatever_is_asked(
    wechatpay: WechatpaySide, status: int, code: str
) -> None:
    channel = wechatpay.channel(lambda _: wechatpay.reply(status, {"code": code}))

    assert await channel.start(DUE, H5) == SERVER_ERROR
    assert await channel.query(DUE) == SERVER_ERROR
    assert await channel.close(DUE) == SERVER_ERROR


async def test_nothing_hostile_is_believed(wechatpay: WechatpaySide) -> None:
    amount = wechatpay.transaction()["amount"]
    changed: list[dict[str, Any]] = [
        {"out_trade_no": "0" * 32},
        {"out_trade_no": None},
        {"mchid": "1900000002"},
        {"appid": "wx0000000000000002"},
        {"trade_state": "success"},
        {"trade_state": ["SUCCESS"]},
        {"transaction_id": None},
        {"transaction_id": ""},
        {"success_time": None},
        {"success_time": "2026-11-24T12:29:57"},
        {"success_time": 1795494597},
        {"amount": amount | {"currency": "USD"}},
        {"amount": amount | {"total": 0}},
        {"amount": amount | {"total": -1}},
        {"amount": amount | {"total": 1509.2}},
        {"amount": amount | {"total": "150920"}},
        {"amount": amount | {"total": 10**30}},
        {"amount": None},
    ]
    true = json.dumps(wechatpay.transaction()).encode()
    bodies = [json.dumps(wechatpay.transaction(**change)).encode() for change in changed]
    bodies += [
        b"",
        b"null",
        b"[]",
        b"<html>",
        b"\xff\xfe",
        b"[" * 60_000,
        b"x" * 65_537,
        true + true,
        true[:-1] + b',"trade_state":"SUCCESS"}',
    ]
    for body in bodies:
        assert await query(wechatpay, wechatpay.reply(200, body)) == NONSENSE, body[:200]

    signed = wechatpay.headers(true)
    unsigned = [
        {},
        signed | {"wechatpay-serial": PUBLIC_KEY_ID},
        signed | {"wechatpay-nonce": "other"},
        wechatpay.headers(true, at=NOW - timedelta(seconds=300)),
        signed | {"wechatpay-signature": "WECHATPAY/SIGNTEST/AAAA"},
    ]
    for headers in unsigned:
        response = httpx2.Response(200, content=true, headers=headers)
        assert await query(wechatpay, response) == NONSENSE, headers
    for status in (201, 301):
        response = httpx2.Response(status, content=true, headers=signed)
        assert not isinstance(await query(wechatpay, response), Succeeded)


async def test_a_compressed_answer_is_not_unpacked(wechatpay: WechatpaySide) -> None:
    response = wechatpay.reply(200, wechatpay.transaction())
    response.headers["content-encoding"] = "br"

    assert await query(wechatpay, response) == NONSENSE


@pytest.mark.parametrize("serial", [SERIAL, PUBLIC_KEY_ID])
def test_a_callback_is_verified_by_the_key_it_names(wechatpay: WechatpaySide, serial: str) -> None:
    told = wechatpay.channel(nobody).verify(wechatpay.notification(serial=serial))

    assert told.answer == PAID
    assert told.attempt_number == NUMBER
    assert told.notification_id == "EV-2026112412295800001"
    assert told.occurred_at == datetime(2026, 11, 24, 4, 29, 58, tzinfo=UTC)


def test_old_and_new_apiv3_key_open_a_callback(wechatpay: WechatpaySide) -> None:
    side = WechatpaySide(wechatpay.folder.parent / "rotation")
    new = "vutsrqponmlkjihgfedcba9876543210"  # pragma: allowlist secret
    write(side.folder / "apiv3" / "apiv3-2.key", new.encode())
    channel = side.channel(nobody)

    for apiv3 in (side.apiv3, new):
        assert channel.verify(side.notification(apiv3=apiv3)).answer == PAID
    other = side.notification(apiv3="x" * 32)
    assert refusal(channel, other) is RefusalReason.DECRYPTION


@pytest.mark.parametrize("event", ["REFUND.SUCCESS", "SECURITY_ECHO.SUCCESS", "SOMETHING.NEW"])
def test_other_events_move_no_payment(wechatpay: WechatpaySide, event: str) -> None:
    told = wechatpay.channel(nobody).verify(wechatpay.notification(event_type=event))

    assert told.answer is None
    assert told.attempt_number == (NUMBER if event == "REFUND.SUCCESS" else "")


def test_an_echo_needs_no_resource(wechatpay: WechatpaySide) -> None:
    echo = wechatpay.notification(event_type="SECURITY_ECHO.SUCCESS", resource=None)

    assert wechatpay.channel(nobody).verify(echo).answer is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"mchid": "1900000002"}, RefusalReason.OTHER_MERCHANT),
        ({"appid": "wx0000000000000002"}, RefusalReason.OTHER_APP),
        ({"amount": {"total": 150920, "currency": "USD"}}, RefusalReason.OTHER_CURRENCY),
        ({"amount": {"total": "150920"}}, RefusalReason.MALFORMED),
        ({"transaction_id": None}, RefusalReason.MALFORMED),
        ({"success_time": "noon"}, RefusalReason.MALFORMED),
    ],
)
def test_a_callback_for_others_or_of_another_shape_is_refused(
    wechatpay: WechatpaySide, changes: dict[str, Any], reason: RefusalReason
) -> None:
    notification = wechatpay.notification(wechatpay.transaction(**changes))

    assert refusal(wechatpay.channel(nobody), notification) is reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id": ""}, RefusalReason.MALFORMED),
        ({"create_time": "2026-11-24 12:29:58"}, RefusalReason.MALFORMED),
        ({"resource": None}, RefusalReason.MALFORMED),
        ({"resource": {"algorithm": "AEAD_AES_128_GCM"}}, RefusalReason.MALFORMED),
        (
            {"resource": {"algorithm": "NONE", "ciphertext": "e30=", "nonce": "wCq51qZv4Yfg"}},
            RefusalReason.MALFORMED,
        ),
    ],
)
def test_a_callback_that_cannot_be_opened_is_refused(
    wechatpay: WechatpaySide, changes: dict[str, Any], reason: RefusalReason
) -> None:
    notification = wechatpay.notification(**changes)

    assert refusal(wechatpay.channel(nobody), notification) is reason


def test_a_name_that_occurs_twice_in_a_resource_is_refused(wechatpay: WechatpaySide) -> None:
    twice = json.dumps(wechatpay.transaction()).encode()[:-1] + b',"out_trade_no":"other"}'

    assert refusal(wechatpay.channel(nobody), wechatpay.notification(twice)) is (
        RefusalReason.MALFORMED
    )


@pytest.mark.parametrize("seconds", [-300, 300, 86_400])
def test_a_replayed_callback_is_stale(wechatpay: WechatpaySide, seconds: int) -> None:
    channel = wechatpay.channel(nobody, FixedClock(NOW + timedelta(seconds=seconds)))

    assert refusal(channel, wechatpay.notification()) is RefusalReason.STALE


def test_a_stranger_or_an_altered_body_is_refused(wechatpay: WechatpaySide) -> None:
    channel = wechatpay.channel(nobody)
    stranger = WechatpaySide(
        wechatpay.folder.parent / "stranger",
        platform={SERIAL: an_rsa_key("stranger"), PUBLIC_KEY_ID: an_rsa_key("new")},
    )
    true = wechatpay.notification()
    altered = RawNotification(true.headers, true.body.replace(b"EV-2026", b"EV-2027"))

    assert refusal(channel, stranger.notification()) is RefusalReason.SIGNATURE
    assert refusal(channel, altered) is RefusalReason.SIGNATURE
    assert refusal(channel, RawNotification({}, true.body)) is RefusalReason.MALFORMED


def test_an_acknowledgement_is_no_content_and_a_refusal_never_200(
    wechatpay: WechatpaySide,
) -> None:
    channel = wechatpay.channel(nobody)

    assert (channel.acknowledgement.status, channel.acknowledgement.body) == (204, b"")
    assert channel.refusal(RefusalReason.SIGNATURE).status == 401
    for reason in RefusalReason:
        reply = channel.refusal(reason)
        assert 400 <= reply.status < 600
        assert json.loads(reply.body)["code"] == "FAIL"
