"""What every cashier channel must do; run against the fake, and our adapters on a real sandbox.

Adapters and sandbox are two implementations written apart: each checks the other.
"""

from collections.abc import AsyncIterator
from dataclasses import replace as replace_payer
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from msgspec.structs import replace

from devstack.keys import channels as channel_keys
from sandbox.tests.merchant import (
    APP_ID,
    MERCHANT_ID,
    SELLER_ID,
    WX_APP_ID,
    Mailbox,
    Received,
    mailbox,
)
from sandbox.tests.running import RunningSandbox, eventually, running_sandbox
from services.payment.adapters.alipay.calls import AlipayAccount
from services.payment.adapters.alipay.channel import AlipayChannel
from services.payment.adapters.alipay.keys import AlipayKeyFolder
from services.payment.adapters.channels.http import ChannelHttp
from services.payment.adapters.wechatpay.cashier import WechatpayAccount
from services.payment.adapters.wechatpay.channel import WechatpayChannel
from services.payment.adapters.wechatpay.keys import WechatpayKeyFolder
from services.payment.application.ports import CashierChannel, DueAttempt, PayerDetails
from services.payment.domain.channel_answer import (
    AwaitingPayer,
    Closed,
    NotThere,
    Succeeded,
    Unknown,
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
    SdkString,
    StartAnswer,
    Started,
)
from services.payment.domain.opening import first_attempt
from services.payment.domain.payment_attempt import Call
from services.payment.tests.building import an_order
from services.payment.tests.fake_cashier import FakeCashier
from shared.kernel.clock import SystemClock
from shared.kernel.ids import new_id

CALL_SECONDS = 2.0
METHODS = {"alipay": ("wap", "app", "qr"), "wechatpay": ("h5", "jsapi", "native", "app")}
PAIRS = [(channel, method) for channel, methods in METHODS.items() for method in methods]
FAKE = ("fake", "wap")
HOSTILE = ("huge", "wrong_type", "duplicate_keys", "not_json", "other_order")


FAKE_HOST = "cashier.invalid"


class Payer:
    """A person with a phone: opens what our API hands out and presses a button."""

    def __init__(self, sandbox: httpx2.AsyncClient, fake: FakeCashier, box: Mailbox) -> None:
        self._sandbox = sandbox
        self._fake = fake
        self._box = box

    async def pay(self, started: StartAnswer) -> None:
        cashier = httpx2.URL(await self.open(started))
        if cashier.host == FAKE_HOST:
            number = cashier.path.removeprefix("/")
            told = self._fake.notification(number, self._fake.pay(number))
            self._box.received.append(Received(told.headers, told.body, 0.0))
            return
        await self._sandbox.post(cashier.copy_with(path=f"{cashier.path}/pay"))

    async def open(self, started: StartAnswer) -> str:
        assert isinstance(started, Started), started
        match started.next_action:
            case Redirect(url) | QrCode(url):
                pass
            case SdkString(content):
                url = f"/cashier/alipay/app?{content}"
            case SdkFields(fields):
                url = f"/cashier/wechatpay/client?{httpx2.QueryParams(dict(fields))}"
            case other:
                raise AssertionError(other)
        if httpx2.URL(url).host == FAKE_HOST:
            return url
        page = await self._sandbox.get(url, follow_redirects=True)
        assert "确认付款" in page.text, page.text
        return str(page.url)


@pytest_asyncio.fixture(scope="session")
async def channels_sandbox(
    tmp_path_factory: pytest.TempPathFactory, channel_key_folder: Path
) -> AsyncIterator[RunningSandbox]:
    keys_dir = str(channel_key_folder / "sandbox")
    data_dir = tmp_path_factory.mktemp("channels-sandbox")
    changes = {
        "SONGHE_SANDBOX_CHANNEL_KEYS_DIR": keys_dir,
        "SONGHE_SANDBOX_TIME_FACTOR": "6000",
    }
    async with running_sandbox(data_dir, **changes) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def channel_key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("channel-keys")
    channel_keys.create_missing(folder)
    return folder


@pytest_asyncio.fixture
async def sandbox(channels_sandbox: RunningSandbox) -> httpx2.AsyncClient:
    (await channels_sandbox.client.post("/sandbox/v1/reset")).raise_for_status()
    return channels_sandbox.client


@pytest.fixture
def fake() -> FakeCashier:
    return FakeCashier()


@pytest.fixture
def payer(sandbox: httpx2.AsyncClient, fake: FakeCashier, box: Mailbox) -> Payer:
    return Payer(sandbox, fake, box)


@pytest_asyncio.fixture
async def box() -> AsyncIterator[Mailbox]:
    async with mailbox() as found:
        yield found


@pytest_asyncio.fixture
async def channels(
    sandbox: httpx2.AsyncClient, fake: FakeCashier, box: Mailbox, channel_key_folder: Path
) -> AsyncIterator[dict[str, CashierChannel]]:
    url = str(sandbox.base_url).rstrip("/")
    async with httpx2.AsyncClient(trust_env=False) as client:
        yield {
            "fake": fake,
            "alipay": AlipayChannel(
                ChannelHttp(client, channel="alipay", timeout_seconds=CALL_SECONDS),
                account=AlipayAccount(
                    url=url,
                    cashier_url=url,
                    app_id=APP_ID,
                    seller_id=SELLER_ID,
                    notify_url=box.url,
                ),
                keys=AlipayKeyFolder(channel_key_folder / "alipay"),
                clock=SystemClock(),
            ),
            "wechatpay": WechatpayChannel(
                ChannelHttp(client, channel="wechatpay", timeout_seconds=CALL_SECONDS),
                account=WechatpayAccount(
                    url=url, app_id=WX_APP_ID, merchant_id=MERCHANT_ID, notify_url=box.url
                ),
                keys=WechatpayKeyFolder(channel_key_folder / "wechatpay"),
                clock=SystemClock(),
            ),
        }


def a_due_attempt(channel: str) -> DueAttempt:
    now = SystemClock().now()
    order = an_order(channel=channel, opened_at=now, expires_at=now + timedelta(minutes=30))
    attempt = first_attempt(order, attempt_id=new_id(), now=now)
    return DueAttempt(replace(attempt, channel=channel), Call.QUERY, new_id(), new_id(), "2026-11")


def a_payer(method: str) -> PayerDetails:
    return PayerDetails(
        method=method,
        client_address="203.0.113.7",
        openid="o-payer" if method == "jsapi" else None,
        return_url="http://127.0.0.1:1/payment/v1/returns/token",
    )


@pytest.mark.parametrize(("channel", "method"), [FAKE, *PAIRS])
async def test_a_payer_pays_and_query_and_notification_agree(
    channels: dict[str, CashierChannel], payer: Payer, box: Mailbox, channel: str, method: str
) -> None:
    due, adapter = a_due_attempt(channel), channels[channel]
    started = await adapter.start(due, a_payer(method))
    await payer.open(started)
    before = await adapter.query(due)

    await payer.pay(started)

    await eventually(lambda: _has(box, 1))
    told, asked = adapter.verify(_raw(box.received[0])), await adapter.query(due)
    assert before == AwaitingPayer()
    assert isinstance(asked, Succeeded)
    assert asked.amount == due.attempt.amount
    assert told.answer == asked
    assert told.attempt_number == due.attempt.number


@pytest.mark.parametrize(("channel", "method"), [FAKE, ("alipay", "wap"), ("wechatpay", "h5")])
async def test_what_is_closed_there_is_closed(
    channels: dict[str, CashierChannel], payer: Payer, channel: str, method: str
) -> None:
    due, adapter = a_due_attempt(channel), channels[channel]
    started = await adapter.start(due, a_payer(method))
    cashier = await payer.open(started)

    closed = [await adapter.close(due) for _ in range(2)]

    assert closed == [Closed(), Closed()]
    assert await adapter.query(due) == Closed()
    assert cashier


@pytest.mark.parametrize(("channel", "method"), [FAKE, ("alipay", "qr"), ("wechatpay", "native")])
async def test_what_is_paid_cannot_be_closed(
    channels: dict[str, CashierChannel], payer: Payer, channel: str, method: str
) -> None:
    due, adapter = a_due_attempt(channel), channels[channel]
    await payer.pay(await adapter.start(due, a_payer(method)))

    answers = [await adapter.close(due), await adapter.query(due)]

    assert isinstance(answers[0], Succeeded)
    assert answers[0] == answers[1]


@pytest.mark.parametrize("channel", ["fake", *METHODS])
async def test_an_order_that_never_came_is_not_there(
    channels: dict[str, CashierChannel], channel: str
) -> None:
    due, adapter = a_due_attempt(channel), channels[channel]

    answers = [await adapter.query(due), await adapter.close(due)]

    assert answers == [NotThere(), NotThere()]


async def test_an_alipay_order_that_nobody_opened_is_not_there(
    channels: dict[str, CashierChannel],
) -> None:
    due, adapter = a_due_attempt("alipay"), channels["alipay"]

    await adapter.start(due, a_payer("qr"))

    assert await adapter.query(due) == NotThere()


@pytest.mark.parametrize(("channel", "method"), [("alipay", "qr"), ("wechatpay", "native")])
async def test_the_same_start_again_leads_to_the_same_cashier(
    channels: dict[str, CashierChannel], channel: str, method: str
) -> None:
    due, adapter = a_due_attempt(channel), channels[channel]

    started = [await adapter.start(due, a_payer(method)) for _ in range(2)]

    assert isinstance(started[0], Started)
    assert started[0] == started[1]


@pytest.mark.parametrize("channel", ["fake", "wechatpay"])
async def test_another_payer_needs_another_number_and_the_first_can_be_closed(
    channels: dict[str, CashierChannel], channel: str
) -> None:
    due, adapter = a_due_attempt(channel), channels[channel]
    parent = a_payer("jsapi")
    child = replace_payer(parent, openid="o-childs-phone")

    answers = [await adapter.start(due, payer) for payer in (parent, child, parent)]
    waiting = await adapter.query(due)
    closed = await adapter.close(due)
    anew = await adapter.start(a_due_attempt(channel), child)

    assert isinstance(answers[0], Started)
    assert answers[1] == OrderedOtherwise()
    assert isinstance(answers[2], Started)
    assert (waiting, closed) == (AwaitingPayer(), Closed())
    assert isinstance(anew, Started)


@pytest.mark.parametrize("channel", ["wechatpay", "alipay"])
async def test_what_we_ask_otherwise_after_a_change_of_ours_needs_another_number(
    channels: dict[str, CashierChannel], channel: str
) -> None:
    due, adapter = a_due_attempt(channel), channels[channel]
    method = {"wechatpay": "native", "alipay": "qr"}[channel]

    first = await adapter.start(due, a_payer(method))
    other_text = DueAttempt(due.attempt, due.call, due.lease, due.payer_id, "2026-12")
    again = await adapter.start(other_text, a_payer(method))

    assert isinstance(first, Started)
    assert again == OrderedOtherwise()


@pytest.mark.parametrize(
    ("channel", "method", "lie", "reason"),
    [
        ("alipay", "qr", "forged_signature", RefusalReason.SIGNATURE),
        ("wechatpay", "h5", "forged_signature", RefusalReason.SIGNATURE),
        ("wechatpay", "h5", "stale_timestamp", RefusalReason.STALE),
        ("alipay", "qr", "other_merchant", RefusalReason.OTHER_APP),
        ("wechatpay", "h5", "other_merchant", RefusalReason.OTHER_APP),
    ],
)
async def test_a_lying_notification_is_refused(
    channels: dict[str, CashierChannel],
    payer: Payer,
    sandbox: httpx2.AsyncClient,
    box: Mailbox,
    channel: str,
    method: str,
    lie: str,
    reason: RefusalReason,
) -> None:
    due, adapter = a_due_attempt(channel), channels[channel]
    await _fault(sandbox, channel, lie, order=due.attempt.number)

    await payer.pay(await adapter.start(due, a_payer(method)))

    await eventually(lambda: _has(box, 1))
    with pytest.raises(NotificationRefused) as refused:
        adapter.verify(_raw(box.received[0]))
    assert refused.value.reason is reason
    assert isinstance(await adapter.query(due), Succeeded)


@pytest.mark.parametrize(("channel", "method"), [("alipay", "qr"), ("wechatpay", "native")])
async def test_a_wrong_amount_is_told_as_it_is(
    channels: dict[str, CashierChannel],
    payer: Payer,
    sandbox: httpx2.AsyncClient,
    box: Mailbox,
    channel: str,
    method: str,
) -> None:
    due, adapter = a_due_attempt(channel), channels[channel]
    await _fault(sandbox, channel, "wrong_amount")

    await payer.pay(await adapter.start(due, a_payer(method)))

    await eventually(lambda: _has(box, 1))
    told, asked = adapter.verify(_raw(box.received[0])).answer, await adapter.query(due)
    assert isinstance(asked, Succeeded)
    assert asked.amount.fen == due.attempt.amount.fen + 1
    assert told == asked


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize(("channel", "method"), [("alipay", "qr"), ("wechatpay", "native")])
async def test_a_hostile_answer_tells_nothing(
    channels: dict[str, CashierChannel],
    payer: Payer,
    sandbox: httpx2.AsyncClient,
    channel: str,
    method: str,
    hostile: str,
) -> None:
    due, adapter = a_due_attempt(channel), channels[channel]
    await payer.pay(await adapter.start(due, a_payer(method)))
    await _fault(sandbox, channel, f"answer_{hostile}", count=1)

    answers = [await adapter.query(due) for _ in range(2)]

    assert isinstance(answers[0], Unknown)
    assert isinstance(answers[1], Succeeded)


async def test_probes_are_refused_and_the_echo_moves_nothing(
    channels: dict[str, CashierChannel], sandbox: httpx2.AsyncClient, box: Mailbox
) -> None:
    for kind in ("signtest", "security_echo"):
        await sandbox.post("/sandbox/v1/probes", json={"kind": kind, "notify_url": box.url})

    signtest, echo = box.received
    with pytest.raises(NotificationRefused) as refused:
        channels["wechatpay"].verify(_raw(signtest))
    assert refused.value.reason is RefusalReason.PROBE
    assert channels["wechatpay"].verify(_raw(echo)).answer is None


async def _fault(sandbox: httpx2.AsyncClient, channel: str, kind: str, **more: object) -> None:
    body = {"target": channel, "kind": kind, **more}
    (await sandbox.post("/sandbox/v1/faults", json=body)).raise_for_status()


def _raw(received: Received) -> RawNotification:
    return RawNotification(headers=received.headers, body=received.body)


async def _has(box: Mailbox, count: int) -> bool:
    return len(box.received) >= count
