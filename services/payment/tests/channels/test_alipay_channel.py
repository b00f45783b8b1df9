"""Our Alipay adapter: what it sends, what it believes, and what it never believes."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx2
import pytest

from services.payment.adapters.alipay.signing import string_to_sign
from services.payment.adapters.channels.rsa_signatures import is_signed
from services.payment.application.ports import CashierChannel, PayerDetails
from services.payment.domain.channel_answer import (
    AwaitingPayer,
    ChannelAnswer,
    Closed,
    Declined,
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
from services.payment.domain.failure_reason import FailureReason
from services.payment.domain.next_action import (
    OrderedOtherwise,
    QrCode,
    Redirect,
    SdkString,
    StartAnswer,
    Started,
)
from services.payment.tests.building import AMOUNT
from services.payment.tests.cashier_attempts import a_due_attempt
from services.payment.tests.cashier_wire import NUMBER, RETURN_URL, AlipaySide, write
from services.payment.tests.channel_keys import a_certificate, an_rsa_key, public_pem, vectors
from shared.kernel.money import Money

NONSENSE = Unknown(UnknownCause.NONSENSE)
SERVER_ERROR = Unknown(UnknownCause.SERVER_ERROR)
QUERY, CLOSE = "alipay.trade.query", "alipay.trade.close"
CREATE = "alipay.trade.precreate"
PAID_AT = datetime(2026, 11, 24, 4, 29, 57, tzinfo=UTC)
PAID = Succeeded("2026112422001090101450000001", AMOUNT, PAID_AT)
DUE = a_due_attempt("alipay")


@pytest.fixture(scope="module")
def alipay(tmp_path_factory: pytest.TempPathFactory) -> AlipaySide:
    return AlipaySide(tmp_path_factory.mktemp("alipay"))


def a_trade(**changes: Any) -> dict[str, Any]:
    return {
        "code": "10000",
        "msg": "Success",
        "out_trade_no": NUMBER,
        "trade_no": PAID.trade_no,
        "trade_status": "TRADE_SUCCESS",
        "total_amount": "1509.20",
        "send_pay_date": "2026-11-24 12:29:57",
    } | changes


def business_failed(sub_code: str, **more: Any) -> dict[str, Any]:
    return {"code": "40004", "msg": "Business Failed", "sub_code": sub_code} | more


async def ask(
    alipay: AlipaySide, answers: dict[str, bytes | httpx2.Response], call: str = "query"
) -> StartAnswer:
    """What our adapter makes of these answers, by method."""

    def handler(request: httpx2.Request) -> httpx2.Response:
        told = answers[parse_qs(request.url.query.decode())["method"][0]]
        return told if isinstance(told, httpx2.Response) else httpx2.Response(200, content=told)

    channel = alipay.channel(handler)
    if call == "start":
        return await channel.start(DUE, PayerDetails(method="qr"))
    return await (channel.query(DUE) if call == "query" else channel.close(DUE))


def nobody(_: httpx2.Request) -> httpx2.Response:
    raise AssertionError("nothing is to be sent")


def refusal(channel: CashierChannel, notification: RawNotification) -> RefusalReason:
    with pytest.raises(NotificationRefused) as refused:
        channel.verify(notification)
    return refused.value.reason


def check_request(alipay: AlipaySide, parameters: dict[str, str], method: str) -> dict[str, Any]:
    """Signed by us and complete; returns the content."""
    signature = parameters["sign"]
    assert is_signed(alipay.app.public_key(), string_to_sign(parameters).encode(), signature)
    assert parameters["method"] == method
    assert parameters["app_id"] == "2021000000000001"
    assert parameters["timestamp"] == "2026-11-24 12:30:00"
    fixed = {name: parameters[name] for name in ("format", "charset", "sign_type", "version")}
    assert fixed == {"format": "JSON", "charset": "utf-8", "sign_type": "RSA2", "version": "1.0"}
    content: dict[str, Any] = json.loads(parameters["biz_content"])
    return content


async def test_a_phones_browser_is_sent_to_the_cashier_without_any_call(
    alipay: AlipaySide,
) -> None:
    payer = PayerDetails(method="wap", return_url=RETURN_URL)

    started = await alipay.channel(nobody).start(DUE, payer)

    assert isinstance(started, Started)
    assert isinstance(started.next_action, Redirect)
    address = urlsplit(started.next_action.url)
    parameters = dict(parse_qsl(address.query))
    assert (address.scheme, address.netloc, address.path) == (
        "https",
        "cashier.test",
        "/gateway.do",
    )
    assert check_request(alipay, parameters, "alipay.trade.wap.pay") == {
        "out_trade_no": NUMBER,
        "total_amount": "1509.20",
        "subject": "基本养老保险费 2026-11",
        "product_code": "QUICK_WAP_WAY",
        "time_expire": "2026-11-24 13:00:00",
    }
    assert parameters["return_url"] == RETURN_URL
    assert parameters["notify_url"].endswith("/payment/v1/channels/alipay/notifications")
    assert started.expires_at == DUE.attempt.expires_at


async def test_the_app_gets_a_signed_string(alipay: AlipaySide) -> None:
    started = await alipay.channel(nobody).start(DUE, PayerDetails(method="app"))

    assert isinstance(started, Started)
    assert isinstance(started.next_action, SdkString)
    parameters = dict(parse_qsl(started.next_action.content))
    content = check_request(alipay, parameters, "alipay.trade.app.pay")
    assert content["product_code"] == "QUICK_MSECURITY_PAY"
    assert "return_url" not in parameters


async def test_a_qr_code_comes_from_the_channel(alipay: AlipaySide) -> None:
    seen: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        answer = a_trade(qr_code="https://qr.alipay.com/bax0001")
        return httpx2.Response(200, content=alipay.answer(CREATE, **answer))

    started = await alipay.channel(handler).start(DUE, PayerDetails(method="qr"))

    assert started == Started(QrCode("https://qr.alipay.com/bax0001"), DUE.attempt.expires_at)
    parameters = dict(parse_qsl(seen[0].url.query.decode()))
    parameters |= dict(parse_qsl(seen[0].content.decode()))
    assert check_request(alipay, parameters, CREATE)["out_trade_no"] == NUMBER


@pytest.mark.parametrize(
    ("sub_code", "expected"),
    [
        ("ACQ.TOTAL_FEE_EXCEED", Declined(FailureReason.LIMIT_EXCEEDED)),
        ("ACQ.SYSTEM_ERROR", SERVER_ERROR),
        ("ACQ.INVALID_PARAMETER", SERVER_ERROR),
        ("ACQ.CONTEXT_INCONSISTENT", OrderedOtherwise()),
    ],
)
async def test_a_refused_qr_code_says_why(
    alipay: AlipaySide, sub_code: str, expected: StartAnswer
) -> None:
    answers: dict[str, bytes | httpx2.Response] = {
        CREATE: alipay.answer(CREATE, **business_failed(sub_code)),
        QUERY: alipay.answer(QUERY, **business_failed("ACQ.TRADE_NOT_EXIST")),
    }

    assert await ask(alipay, answers, "start") == expected


async def test_a_qr_code_for_what_is_paid_finds_the_payment(alipay: AlipaySide) -> None:
    answers: dict[str, bytes | httpx2.Response] = {
        CREATE: alipay.answer(CREATE, **business_failed("ACQ.TRADE_HAS_SUCCESS")),
        QUERY: alipay.answer(QUERY, **a_trade()),
    }

    assert await ask(alipay, answers, "start") == PAID


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, PAID),
        ({"trade_status": "TRADE_FINISHED"}, PAID),
        ({"trade_status": "WAIT_BUYER_PAY", "send_pay_date": None}, AwaitingPayer()),
        ({"trade_status": "TRADE_CLOSED", "send_pay_date": None}, Closed()),
        # Closed by a full refund: it was paid.
        ({"trade_status": "TRADE_CLOSED"}, PAID),
        ({"total_amount": "1"}, Succeeded(PAID.trade_no, Money(100), PAID_AT)),
        ({"total_amount": "0.1"}, Succeeded(PAID.trade_no, Money(10), PAID_AT)),
        ({"total_amount": "100000000.00"}, Succeeded(PAID.trade_no, Money(10**10), PAID_AT)),
    ],
)
async def test_a_query_tells_the_state_of_the_trade(
    alipay: AlipaySide, changes: dict[str, Any], expected: ChannelAnswer
) -> None:
    trade = {name: value for name, value in a_trade(**changes).items() if value is not None}

    assert await ask(alipay, {QUERY: alipay.answer(QUERY, **trade)}) == expected


async def test_an_order_that_nobody_opened_is_not_there(alipay: AlipaySide) -> None:
    absent = business_failed("ACQ.TRADE_NOT_EXIST")

    assert await ask(alipay, {QUERY: alipay.answer(QUERY, **absent)}) == NotThere()
    assert await ask(alipay, {CLOSE: alipay.answer(CLOSE, **absent)}, "close") == NotThere()


async def test_closing_says_closed_only_when_it_is(alipay: AlipaySide) -> None:
    closed = alipay.answer(CLOSE, code="10000", msg="Success", out_trade_no=NUMBER)
    refused = alipay.answer(CLOSE, **business_failed("ACQ.REASON_TRADE_STATUS_INVALID"))
    waits = a_trade(trade_status="WAIT_BUYER_PAY", send_pay_date="2026-11-24 12:29:57")

    assert await ask(alipay, {CLOSE: closed}, "close") == Closed()
    for trade, expected in ((a_trade(), PAID), (waits, SERVER_ERROR)):
        answers = {CLOSE: refused, QUERY: alipay.answer(QUERY, **trade)}
        assert await ask(alipay, dict(answers), "close") == expected


@pytest.mark.parametrize(
    ("code", "sub_code"),
    [
        ("20000", "aop.unknow-error"),
        ("20001", "aop.invalid-auth-token"),
        ("40001", "isv.missing-method"),
        ("40002", "isv.invalid-signature"),
        ("40006", "isv.insufficient-isv-permissions"),
        ("10003", ""),
    ],
)
async def test_what_the_gateway_could_not_do_is_unknown(
    alipay: AlipaySide, code: str, sub_code: str
) -> None:
    for root in (None, "error_response"):
        answer = alipay.answer(QUERY, root, code=code, sub_code=sub_code)
        assert await ask(alipay, {QUERY: answer}) == SERVER_ERROR


async def test_nothing_hostile_is_believed(alipay: AlipaySide) -> None:
    signed = alipay.answer(QUERY, **a_trade())
    hostile = [
        b"",
        b"null",
        b"[]",
        b"<html>login</html>",
        b"\xff\xfe\x00",
        b"[" * 60_000,
        b"x" * 65_537,
        signed.replace(b"1509.20", b"0.01"),
        signed[: signed.index(b',"sign"')] + b"}",
        signed[:-1] + b',"alipay_trade_query_response":{"code":"10000"}}',
        AlipaySide(alipay.folder.parent / "stranger", platform=an_rsa_key("stranger")).answer(
            QUERY, **a_trade()
        ),
        alipay.answer(CLOSE, **a_trade()),
    ]
    changed: list[dict[str, Any]] = [
        {"out_trade_no": "0" * 32},
        {"out_trade_no": ""},
        {"out_trade_no": None},
        {"trade_status": "TRADE_PENDING"},
        {"trade_status": ["TRADE_SUCCESS"]},
        {"trade_no": None},
        {"trade_no": ""},
        {"trade_no": "1\n2"},
        {"total_amount": None},
        {"total_amount": "1509.201"},
        {"total_amount": 1509.2},
        {"total_amount": "-1"},
        {"total_amount": "1e3"},
        {"total_amount": "１"},
        {"total_amount": "1,509.20"},
        {"send_pay_date": "yesterday"},
        {"send_pay_date": "2026-13-45 12:00:00"},
        {"trans_currency": "USD"},
        {"settle_currency": "HKD"},
        {"code": 10000},
    ]
    hostile += [alipay.answer(QUERY, **a_trade(**change)) for change in changed]

    for content in hostile:
        assert await ask(alipay, {QUERY: content}) == NONSENSE, content[:200]
    for status in (201, 204, 301, 400, 401, 404):
        response = httpx2.Response(status, content=signed)
        assert await ask(alipay, {QUERY: response}) == NONSENSE, status


@pytest.mark.parametrize("url", ["javascript:alert(1)", "", "https://qr test", None, 7])
async def test_a_qr_code_that_is_no_address_is_nonsense(alipay: AlipaySide, url: Any) -> None:
    answers = {CREATE: alipay.answer(CREATE, **a_trade(qr_code=url))}

    assert await ask(alipay, dict(answers), "start") == NONSENSE


def test_a_notification_of_a_payment_is_verified(alipay: AlipaySide) -> None:
    told = alipay.channel(nobody).verify(alipay.notification())

    assert told.answer == PAID
    assert told.attempt_number == NUMBER
    assert told.notification_id == "2026112400222122958090101450000001"
    assert told.occurred_at == datetime(2026, 11, 24, 4, 29, 58, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"trade_status": "TRADE_FINISHED"}, PAID),
        ({"refund_fee": "0.00"}, PAID),
        ({"gmt_payment": None, "trade_status": "TRADE_CLOSED"}, Closed()),
        ({"trade_status": "WAIT_BUYER_PAY"}, None),
        # A refund, in part or whole, is no second payment.
        ({"refund_fee": "1.00"}, None),
        ({"gmt_refund": "2026-11-25 10:00:00.123"}, None),
        ({"out_biz_no": "R1", "refund_fee": "0.00"}, None),
        ({"trade_status": "TRADE_CLOSED", "refund_fee": "1509.20"}, None),
        ({"trade_status": "TRADE_CLOSED"}, None),
        ({"notify_type": "dut_user_sign"}, None),
    ],
)
def test_a_notification_moves_no_more_than_it_says(
    alipay: AlipaySide, changes: dict[str, str | None], expected: ChannelAnswer | None
) -> None:
    notification = alipay.notification(**changes)

    assert alipay.channel(nobody).verify(notification).answer == expected


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"app_id": "2021000000000002"}, RefusalReason.OTHER_APP),
        ({"seller_id": "2088000000000002"}, RefusalReason.OTHER_MERCHANT),
        ({"seller_id": None}, RefusalReason.OTHER_MERCHANT),
        ({"trans_currency": "USD"}, RefusalReason.OTHER_CURRENCY),
        ({"charset": "GBK"}, RefusalReason.MALFORMED),
        ({"trade_status": "TRADE_UNHEARD_OF"}, RefusalReason.MALFORMED),
        ({"trade_no": None}, RefusalReason.MALFORMED),
        ({"total_amount": None}, RefusalReason.MALFORMED),
        ({"total_amount": "1.001"}, RefusalReason.MALFORMED),
        ({"notify_id": None}, RefusalReason.MALFORMED),
        ({"notify_time": "2026-02-30 00:00:00"}, RefusalReason.MALFORMED),
        ({"refund_fee": "much"}, RefusalReason.MALFORMED),
        ({"subject": "1&total_amount=0.01"}, RefusalReason.MALFORMED),
    ],
)
def test_a_notification_for_others_or_of_another_shape_is_refused(
    alipay: AlipaySide, changes: dict[str, str | None], reason: RefusalReason
) -> None:
    assert refusal(alipay.channel(nobody), alipay.notification(**changes)) is reason


def test_a_refund_cannot_be_hidden_by_joining_two_parameters(alipay: AlipaySide) -> None:
    body = alipay.notification(refund_fee="1.00").body

    joined = body.replace(b"&refund_fee=1.00", b"").replace(
        b"receipt_amount=1509.20", b"receipt_amount=1509.20%26refund_fee%3D1.00"
    )

    notification = RawNotification({}, joined)
    assert refusal(alipay.channel(nobody), notification) is RefusalReason.MALFORMED


def test_the_published_notification_is_for_somebody_else(alipay: AlipaySide) -> None:
    published = vectors("alipay_rsa2.json")["notify_published"][0]
    der = published["public_key_b64_der"]
    pem = f"-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----".encode()
    believing = AlipaySide(alipay.folder.parent / "published")
    write(believing.folder / "platform" / "published.pem", pem)
    form = urlencode(published["params"]).encode()

    reason = refusal(believing.channel(nobody), RawNotification({}, form))

    assert reason is RefusalReason.OTHER_APP


def test_the_acknowledgement_is_seven_characters_and_a_refusal_is_not(alipay: AlipaySide) -> None:
    channel = alipay.channel(nobody)

    assert (channel.acknowledgement.status, channel.acknowledgement.body) == (200, b"success")
    for reason in RefusalReason:
        assert channel.refusal(reason).body != b"success"


async def test_certificate_mode_names_our_certificate_and_the_roots(alipay: AlipaySide) -> None:
    side = AlipaySide(alipay.folder.parent / "certificates")
    root = vectors("alipay_rsa2.json")["cert_sn"]["cases"][0]
    write(side.folder / "app" / "app-1.crt", a_certificate(side.app))
    write(side.folder / "root.crt", root["pem"].encode())
    write(side.folder / "platform" / "platform-1.pem", a_certificate(side.platform))

    channel = side.channel(nobody)
    started = await channel.start(DUE, PayerDetails(method="app"))

    assert isinstance(started, Started)
    assert isinstance(started.next_action, SdkString)
    parameters = dict(parse_qsl(started.next_action.content))
    assert parameters["alipay_root_cert_sn"] == root["sn"]
    assert len(parameters["app_cert_sn"]) == 32
    assert channel.verify(side.notification()).answer == PAID


def test_two_platform_keys_are_believed_at_the_same_time(alipay: AlipaySide) -> None:
    side = AlipaySide(alipay.folder.parent / "rotation")
    new = an_rsa_key("new")
    write(side.folder / "platform" / "platform-2.pem", public_pem(new))
    channel = side.channel(nobody)

    old_told = channel.verify(side.notification())
    side.platform = new
    new_told = channel.verify(side.notification())

    assert old_told == new_told
