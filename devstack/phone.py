"""What a phone does: it talks to the entry, its browser opens the cashier, and SMS reach it."""

import json
import random
import time
import uuid
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any, TypeVar
from urllib.parse import quote, urljoin

import httpx2

from devstack.stack import Stack

STEP_SECONDS = 30.0
CALL_SECONDS = 10.0
POLL_SECONDS = 0.1

Found = TypeVar("Found")


class DemoError(Exception):
    """One sentence: what did not happen, and where to look."""


class Phone:
    """One phone with a number of its own; the sandbox shows its SMS."""

    def __init__(self, stack: Stack) -> None:
        # A number of the range 199, another one in each run: limits are per number.
        self.number = f"+86199{random.randrange(10**8):08d}"
        self.browser = Browser()
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
        self.browser.close()

    def _ticket(self, path: str) -> str | None:
        answer = self._entry.post(f"{path}/stream-tickets")
        if answer.status_code == 404:
            # Billing has promised the order; payment hears of it a moment later.
            return None
        ticket: str = _body(answer)["ticket"]
        return ticket


class Browser:
    """Opens a page, presses its main button and follows its link, and is logged in nowhere."""

    def __init__(self) -> None:
        self._client = httpx2.Client(timeout=CALL_SECONDS, trust_env=False, follow_redirects=True)
        self._page = Page("")
        self._address = ""

    @property
    def page(self) -> "Page":
        return self._page

    def open(self, url: str) -> "Page":
        return self._show(self._client.get(url))

    def press(self) -> "Page":
        """Press the page's main button: post the form that it stands in."""
        if not self._page.main_form:
            raise DemoError(f"the page {self._page.heading!r} has no button: look at sandbox.")
        return self._show(self._client.post(urljoin(self._address, self._page.main_form)))

    def go_back(self) -> dict[str, Any]:
        """Follow the link back to the merchant; what stands there."""
        if not self._page.main_link:
            raise DemoError(f"the page {self._page.heading!r} leads nowhere: look at sandbox.")
        return _body(self._client.get(urljoin(self._address, self._page.main_link)))

    def close(self) -> None:
        self._client.close()

    def _show(self, answer: httpx2.Response) -> "Page":
        if not answer.is_success:
            raise DemoError(f"{answer.request.url.path} answered {answer.status_code}.")
        self._address, self._page = str(answer.url), Page(answer.text)
        return self._page


class Page(HTMLParser):
    """Title and heading of a page, and where its main button and its main link lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.title = self.heading = self.amount = self.main_form = self.main_link = ""
        self._form = self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        is_main = "main" in found.get("class", "").split()
        self._inside = found.get("class", "") or tag
        if tag == "form":
            self._form = found.get("action", "")
        elif tag == "button" and is_main:
            self.main_form = self._form
        elif tag == "a" and is_main:
            self.main_link = found.get("href", "")

    def handle_data(self, data: str) -> None:
        if self._inside == "title":
            self.title = data
        elif self._inside == "h1":
            self.heading = data
        elif self._inside == "amount":
            self.amount = data
        self._inside = ""


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


def _body(answer: httpx2.Response) -> dict[str, Any]:
    if not answer.is_success:
        raise DemoError(f"{answer.request.url.path} answered {answer.status_code}: {answer.text}")
    body: dict[str, Any] = answer.json()
    return body
