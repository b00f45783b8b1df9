"""Payers at the cashiers of Alipay and WeChat Pay: they press the sandbox's own buttons."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urljoin
from uuid import UUID

import httpx2
import psycopg

from devstack.stack import Stack
from testing.eventually import eventually
from tests.integration.support.endings import Ending, read_ending
from tests.integration.support.people import Person
from tests.integration.support.sandbox import Sandbox

PAY_BUTTON = re.compile(r'action="([^"]+/pay[^"]*)"')
# A circuit that opened is closed after ten seconds, and a call may take five.
BEGIN_SECONDS = 45.0
# A busy service answers 503 and wants to be asked again.
ASKING_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Lie:
    """A fault of the sandbox; `on` and the rest as its README tells."""

    kind: str
    on: str | None = None
    count: int | None = 1
    delay_ms: int | None = None
    times: int | None = None

    def body(self) -> dict[str, object]:
        fields = ("on", "count", "delay_ms", "times")
        told = {name: getattr(self, name) for name in fields}
        return {name: value for name, value in told.items() if value is not None}


@dataclass(slots=True)
class Desks:
    """What all payers of a test share: one start at a channel at a time.

    A fault of a start cannot name its order, whose number is only known afterwards.
    """

    stack: Stack
    sandbox: Sandbox
    browser: httpx2.AsyncClient
    starting: dict[str, asyncio.Lock] = field(default_factory=dict)
    # More at once would only queue behind the services' small pools, and ours.
    asking: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(8))
    looking: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(4))

    def lock(self, channel: str) -> asyncio.Lock:
        return self.starting.setdefault(channel, asyncio.Lock())


@asynccontextmanager
async def open_desks(stack: Stack, sandbox: Sandbox) -> AsyncIterator[Desks]:
    async with httpx2.AsyncClient(timeout=20, trust_env=False, follow_redirects=True) as browser:
        yield Desks(stack, sandbox, browser)


@dataclass(slots=True)
class Payer:
    """Somebody with a contribution who goes to the cashiers of one channel, or of another."""

    desks: Desks
    person: Person
    channel: str
    contribution_id: str = ""
    order_id: str = ""
    orders: list[UUID] = field(default_factory=list)
    attempt_id: str = ""
    return_token: str = ""
    cashier: str = ""

    async def request(self) -> None:
        """Assess where that is still to be done, and ask for a payment by this channel."""
        async with self.desks.asking:
            if not self.contribution_id:
                self.contribution_id = (await eventually(self.person.assess, ASKING_SECONDS))["id"]
            requested = await eventually(partial(self._request, str(uuid.uuid4())), ASKING_SECONDS)
        self.order_id = requested["payment_order_id"]
        self.orders.append(UUID(self.order_id))

    async def _request(self, key: str) -> dict[str, str]:
        path = f"/billing/v1/contributions/{self.contribution_id}/payment"
        answer = await self.person.call("POST", path, key=key, json={"channel": self.channel})
        assert answer.status_code == 202, answer.text
        requested: dict[str, str] = answer.json()
        return requested

    async def request_again(self) -> None:
        """Another order, as soon as billing knows that the one before it failed."""
        await self.person.until_status(self.contribution_id, "assessed")
        await self.request()

    async def begin(self, method: str, *lies: Lie, channel: str | None = None) -> None:
        """Start an attempt, again and again with one key until it began, and note the cashier."""
        if not self.order_id:
            await self.request()
        chosen, key = channel or self.channel, str(uuid.uuid4())
        async with self.desks.lock(chosen):
            for lie in lies:
                await self.desks.sandbox.fault(chosen, lie.kind, **lie.body())

            async def begun() -> dict[str, object]:
                answer = await self.person.call(
                    "POST",
                    f"/payment/v1/orders/{self.order_id}/attempts",
                    key=key,
                    json={"channel": chosen, "method": method},
                )
                assert answer.status_code == 201, answer.text
                body: dict[str, object] = answer.json()
                return body

            started = await eventually(begun, BEGIN_SECONDS)
            self.attempt_id = str(started["attempt_id"])
            self.return_token = str(started["return_token"])
            action = started["next_action"]
            if isinstance(action, dict):
                self.cashier = await self._cashier(action.get("url") or action["content"])

    async def _cashier(self, address: str) -> str:
        """Alipay's order begins only when the payer's browser brings what we signed."""
        if "/gateway.do" not in address:
            return address
        sent_on = await self.desks.browser.get(address, follow_redirects=False)
        return sent_on.headers["Location"]

    async def lie(self, *lies: Lie) -> None:
        """From now on the channel lies about this attempt."""
        for lie in lies:
            order = UUID(self.attempt_id).hex
            await self.desks.sandbox.fault(self.channel, lie.kind, order=order, **lie.body())

    async def open(self) -> str:
        """Look at the cashier page; where its button leads, empty where it has none."""
        page = await self.desks.browser.get(self.cashier)
        button = PAY_BUTTON.search(page.text)
        return urljoin(str(page.url), button.group(1).replace("&amp;", "&")) if button else ""

    async def confirm(self) -> bool:
        """Open the cashier and press its button; whether the channel says that it took money."""
        button = await self.open()
        if not button:
            return False
        return (await self.desks.browser.post(button)).is_success

    async def give_up(self) -> int:
        """Close the attempt; the answer's status."""
        path = f"/payment/v1/orders/{self.order_id}/attempts/{self.attempt_id}"
        return (await self.person.call("DELETE", path)).status_code

    async def insist_until_attempt(self, *statuses: str) -> None:
        """Press "I have paid" on the page that the cashier leads back to, again and again."""

        async def is_believed() -> bool:
            path = f"/payment/v1/returns/{self.return_token}/asks"
            answer = await self.person.call("POST", path, json={"said": "paid"})
            assert answer.status_code == 202, answer.text
            await self.until_attempt(*statuses, within_seconds=5)
            return True

        await eventually(is_believed, 60)

    async def until_attempt(self, *statuses: str, within_seconds: float = 60) -> None:
        async def has_status() -> bool:
            order = await self.person.get(f"/payment/v1/orders/{self.order_id}")
            found = {attempt["id"]: attempt["status"] for attempt in order["attempts"]}
            assert found.get(self.attempt_id) in statuses, found
            return True

        await eventually(has_status, within_seconds)

    async def until_order(self, *statuses: str) -> None:
        async def has_status() -> bool:
            answer = await self.person.call("GET", f"/payment/v1/orders/{self.order_id}")
            assert answer.is_success, answer.text
            assert answer.json()["status"] in statuses, answer.text
            return True

        await eventually(has_status, 60)

    async def run_out_of_time(self) -> None:
        """Half an hour passes for this order and its attempts, at us and not at the channel."""
        await asyncio.to_thread(self._expire)

    def _expire(self) -> None:
        now = datetime.now(UTC)
        with psycopg.connect(self.desks.stack.databases["payment"]) as connection:
            connection.execute(
                "UPDATE payment_order SET expires_at = %s WHERE id = %s", (now, self.order_id)
            )
            connection.execute(
                "UPDATE payment_attempt SET expires_at = %s, due_at = %s WHERE order_id = %s"
                " AND status IN ('STARTED', 'AWAITING_PAYER', 'UNKNOWN')",
                (now, now, self.order_id),
            )

    async def ending(self) -> Ending:
        async with self.desks.looking:
            return await asyncio.to_thread(
                read_ending, self.desks.stack, self.contribution_id, self.orders
            )
