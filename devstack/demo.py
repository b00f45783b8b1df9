"""One contribution from login to "paid, SMS delivered", through the entry port, step by step.

`python -m devstack.demo`: exit code 0 when it was paid and told, else 1 and one sentence.
"""

import json
import random
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2

from devstack.problems import DevstackError
from devstack.stack import Stack
from shared.kernel.clock import shanghai_month
from shared.kernel.money import Money

REGION, SCHEME = "110000", "flexible"
REGION_NAME = "Beijing 北京"
STEP_SECONDS = 30.0
CALL_SECONDS = 10.0
POLL_SECONDS = 0.1

Found = TypeVar("Found")


class DemoError(Exception):
    """One sentence: what did not happen, and where to look."""


class Story:
    """Prints what happens, with the seconds since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def tell(self, what: str, *details: str) -> None:
        seconds = time.monotonic() - self._began
        sys.stdout.write(f"{seconds:6.2f} s  {what:<12} {details[0] if details else ''}\n")
        for detail in details[1:]:
            sys.stdout.write(f"{'':22} {detail}\n")
        sys.stdout.flush()


class Phone:
    """What a phone does: it talks to the entry; the sandbox shows its SMS."""

    def __init__(self, stack: Stack) -> None:
        # A number of the range 199, another one in each run: limits are per number.
        self.number = f"+86199{random.randrange(10**8):08d}"
        self._entry = httpx2.Client(
            base_url=stack.urls["entry"], timeout=CALL_SECONDS, trust_env=False
        )
        self._sandbox = httpx2.Client(
            base_url=stack.urls["sandbox"], timeout=CALL_SECONDS, trust_env=False
        )

    def log_in(self, access_token: str) -> None:
        self._entry.headers["Authorization"] = f"Bearer {access_token}"

    def get(self, path: str) -> dict[str, Any]:
        return _body(self._entry.get(path))

    def post(self, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        return _body(self._entry.post(path, json=body, headers=headers))

    def messages(self) -> list[dict[str, Any]]:
        answer = self._sandbox.get(f"/sandbox/v1/sms?phone={quote(self.number)}")
        items: list[dict[str, Any]] = _body(answer)["items"]
        return items

    def live_status(self, order_id: str) -> Iterator[dict[str, Any]]:
        """The order each time it changes, as Server-Sent Events, until the server ends it."""
        path = f"/payment/v1/orders/{order_id}"
        ticket = until(lambda: self._ticket(path), "payment did not open the order")
        deadline = time.monotonic() + STEP_SECONDS
        with self._entry.stream("GET", f"{path}/events?ticket={ticket}") as answer:
            event = ""
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: ") and event == "order":
                    yield json.loads(line.removeprefix("data: "))
                if event == "end" or time.monotonic() > deadline:
                    return

    def close(self) -> None:
        self._entry.close()
        self._sandbox.close()

    def _ticket(self, path: str) -> str | None:
        answer = self._entry.post(f"{path}/stream-tickets")
        if answer.status_code == 404:
            # Billing has promised the order; payment hears of it a moment later.
            return None
        ticket: str = _body(answer)["ticket"]
        return ticket


def main() -> int:
    story = Story()
    phone: Phone | None = None
    try:
        phone = Phone(Stack())
        _pay_one_contribution(phone, story)
    except (DemoError, DevstackError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (httpx2.HTTPError, OSError) as error:
        sys.stderr.write(f"The stack does not answer ({error}): look at `make status`.\n")
        return 1
    finally:
        if phone is not None:
            phone.close()
    return 0


def _pay_one_contribution(phone: Phone, story: Story) -> None:
    coverage = phone.get(f"/billing/v1/coverage?region={REGION}&scheme={SCHEME}")
    if not coverage["covered"]:
        raise DemoError(f"{REGION_NAME} is not covered: look at services/billing.")
    floor_fen: int = coverage["base"]["floor_fen"]
    story.tell("coverage", f"{REGION_NAME}, {SCHEME}: base from {Money(floor_fen).yuan} yuan")
    _log_in(phone, story)
    contribution = _assess(phone, story, floor_fen)
    order_id = _pay(phone, story, contribution["id"])
    _watch(phone, story, order_id)
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


def _pay(phone: Phone, story: Story, contribution_id: str) -> str:
    requested = phone.post(f"/billing/v1/contributions/{contribution_id}/payment", {})
    order_id: str = requested["payment_order_id"]
    story.tell("requested", f"payment order {order_id}")
    return order_id


def _watch(phone: Phone, story: Story, order_id: str) -> None:
    status = ""
    for order in phone.live_status(order_id):
        status = order["status"]
        story.tell(status if status == "settled" else "live", _words(order))
    if status != "settled":
        raise DemoError(
            f"order {order_id} is {status or 'not seen'}: look at `make logs` of payment-worker."
        )


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


def until(check: Callable[[], Found | None], failure: str) -> Found:
    """What `check` returns as soon as it is true; DemoError after 30 s."""
    deadline = time.monotonic() + STEP_SECONDS
    while time.monotonic() < deadline:
        found = check()
        if found:
            return found
        time.sleep(POLL_SECONDS)
    raise DemoError(
        f"{failure} within {STEP_SECONDS:.0f} s: look at `make status` and `make logs`."
    )


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


def _body(answer: httpx2.Response) -> dict[str, Any]:
    if not answer.is_success:
        raise DemoError(f"{answer.request.url.path} answered {answer.status_code}: {answer.text}")
    body: dict[str, Any] = answer.json()
    return body


if __name__ == "__main__":
    sys.exit(main())
