"""Three contributions from login to "paid, SMS delivered": Alipay, WeChat Pay, direct debit.

`python -m devstack.demo`: exit code 0 when each was paid and told, else 1 and one sentence.
"""

import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx2

from devstack.phone import DemoError, Phone, until
from devstack.problems import DevstackError
from devstack.stack import Stack
from shared.kernel.clock import shanghai_month
from shared.kernel.money import Money

REGION, SCHEME = "110000", "flexible"
REGION_NAME = "Beijing 北京"


@dataclass(frozen=True, slots=True)
class Way:
    """How somebody pays. Without a method our server charges and nobody confirms anything."""

    title: str
    channel: str
    method: str | None


ALIPAY = Way("Alipay 支付宝, in the phone's browser", "alipay", "wap")
WECHATPAY = Way("WeChat Pay 微信支付, in the phone's browser", "wechatpay", "h5")
DIRECT = "Direct debit 银行代扣, without a cashier"


class Story:
    """Prints what happens, with the seconds since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def part(self, title: str) -> None:
        sys.stdout.write(f"\n{'':10} {title}\n")

    def tell(self, what: str, *details: str) -> None:
        seconds = time.monotonic() - self._began
        sys.stdout.write(f"{seconds:6.2f} s  {what:<12} {details[0] if details else ''}\n")
        for detail in details[1:]:
            sys.stdout.write(f"{'':22} {detail}\n")
        sys.stdout.flush()


def main() -> int:
    story, stack = Story(), Stack()
    phones: list[Phone] = []
    try:
        phones += [Phone(stack) for _ in range(3)]
        floor_fen = _look_up(phones[0], story)
        _pay_all(phones, story, floor_fen)
    except (DemoError, DevstackError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (httpx2.HTTPError, OSError) as error:
        sys.stderr.write(f"The stack does not answer ({error}): look at `make status`.\n")
        return 1
    finally:
        for phone in phones:
            phone.close()
    return 0


def _look_up(phone: Phone, story: Story) -> int:
    coverage = phone.get(f"/billing/v1/coverage?region={REGION}&scheme={SCHEME}")
    if not coverage["covered"]:
        raise DemoError(f"{REGION_NAME} is not covered: look at services/billing.")
    floor_fen: int = coverage["base"]["floor_fen"]
    story.tell("coverage", f"{REGION_NAME}, {SCHEME}: base from {Money(floor_fen).yuan} yuan")
    return floor_fen


def _pay_all(phones: Sequence[Phone], story: Story, floor_fen: int) -> None:
    """One person each: a person has one contribution a month."""
    for phone, way in zip(phones, (ALIPAY, WECHATPAY, None), strict=True):
        story.part(way.title if way else DIRECT)
        _log_in(phone, story)
        way = way or _direct(phone)
        contribution = _assess(phone, story, floor_fen)
        order_id = _request(phone, story, contribution["id"], way)
        _watch(phone, story, order_id, way)
        _until_paid(phone, story, contribution["id"])
        _until_told(phone, story, contribution["amount_fen"])


def _log_in(phone: Phone, story: Story) -> None:
    asked = phone.post("/identity/v1/sms-codes", {"phone": phone.number, "purpose": "login"})
    text = until(lambda: _last_text(phone), "no SMS code came")
    code = re.search(r"\d{6}", text)
    if code is None:
        raise DemoError(f"there is no code in the SMS {text!r}: look at services/identity.")
    story.tell("code", f"SMS to {_masked(phone.number)}: {_hidden(text)}")
    session = phone.post(
        "/identity/v1/sessions", {"request_id": asked["request_id"], "code": code.group()}
    )
    phone.log_in(session["access_token"])
    story.tell("login", f"session for {session['expires_in'] // 60} minutes")


def _direct(phone: Phone) -> Way:
    """The channel that charges by itself."""
    for channel in phone.get("/payment/v1/channels")["items"]:
        if channel["kind"] == "direct":
            return Way(DIRECT, channel["id"], None)
    raise DemoError("there is no direct channel: look at services/payment.")


def _assess(phone: Phone, story: Story, floor_fen: int) -> dict[str, Any]:
    period = shanghai_month(datetime.now(UTC))
    contribution = phone.post(
        "/billing/v1/contributions",
        {"scheme": SCHEME, "region": REGION, "period": period, "base_fen": floor_fen},
    )
    shares = [
        f"{share['account']} {Money(share['amount_fen']).yuan}" for share in contribution["shares"]
    ]
    story.tell(
        "assessed",
        f"{period}: {Money(contribution['amount_fen']).yuan} yuan = {' + '.join(shares)}",
        f"rule {contribution['rule_id']}",
        _words(contribution),
    )
    return contribution


def _request(phone: Phone, story: Story, contribution_id: str, way: Way) -> str:
    requested = phone.post(
        f"/billing/v1/contributions/{contribution_id}/payment", {"channel": way.channel}
    )
    order_id: str = requested["payment_order_id"]
    story.tell("requested", f"payment order {order_id} by {way.channel}")
    return order_id


def _watch(phone: Phone, story: Story, order_id: str, way: Way) -> None:
    """Tell the live status; at a cashier, take the next step each time that it changes."""
    status = words = ""
    steps = [] if way.method is None else [_confirm, _begin]
    for order in phone.live_status(order_id):
        if words == _words(order):
            continue
        status, words = order["status"], _words(order)
        story.tell(status if status == "settled" else "live", words)
        if steps and status == "requested":
            steps.pop()(phone, story, order_id, way)
    if status != "settled" or steps:
        raise DemoError(
            f"order {order_id} is {status or 'not seen'}: look at `make logs` of payment-worker."
        )
    if way.method is not None:
        _come_back(phone, story)


def _begin(phone: Phone, story: Story, order_id: str, way: Way) -> None:
    """Choose the channel; its answer says where the payer must go."""
    attempt = phone.post(
        f"/payment/v1/orders/{order_id}/attempts", {"channel": way.channel, "method": way.method}
    )
    action = attempt["next_action"]
    if action["type"] != "redirect":
        raise DemoError(f"{way.channel} answered with {action['type']}: look at services/payment.")
    page = phone.browser.open(action["url"])
    story.tell("cashier", f"{page.title} {page.amount}")


def _confirm(phone: Phone, story: Story, order_id: str, way: Way) -> None:
    page = phone.browser.press()
    story.tell("confirmed", f"{page.title} {page.amount}")


def _come_back(phone: Phone, story: Story) -> None:
    """The cashier leads back to a page that asks nobody to log in and names nobody."""
    returned = phone.browser.go_back()
    story.tell("returned", f"{Money(returned['amount_fen']).yuan} yuan: {_words(returned)}")


def _until_paid(phone: Phone, story: Story, contribution_id: str) -> None:
    def paid() -> dict[str, Any] | None:
        found = phone.get(f"/billing/v1/contributions/{contribution_id}")
        return found if found["status"] == "paid" else None

    contribution = until(paid, "billing did not hear that it is paid")
    story.tell("paid", _words(contribution))


def _until_told(phone: Phone, story: Story, amount_fen: int) -> None:
    def told() -> str | None:
        texts = [m["text"] for m in phone.messages() if m["status"] == "delivered"]
        return next((text for text in texts if Money(amount_fen).yuan in text), None)

    def delivered() -> bool:
        items = phone.get("/notifier/v1/notifications")["items"]
        return any(item["sms"] and item["sms"]["status"] == "delivered" for item in items)

    text = until(told, "no SMS told that it is paid")
    until(delivered, "notifier did not learn that the SMS was delivered")
    story.tell("SMS", f"delivered to {_masked(phone.number)}:", text)


def _last_text(phone: Phone) -> str | None:
    messages = phone.messages()
    return messages[-1]["text"] if messages else None


def _words(answer: dict[str, Any]) -> str:
    words = answer["status_for_person"]
    return f"{words['headline']}。{words['explanation'] or ''}"


def _masked(number: str) -> str:
    return f"{number[3:6]}****{number[-4:]}"


def _hidden(text: str) -> str:
    return re.sub(r"\d{6}", "******", text)


if __name__ == "__main__":
    sys.exit(main())
