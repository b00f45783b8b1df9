"""SIGTERM to every process, one service after the other, while people pay: nobody notices."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from uuid import UUID

import httpx2
import psycopg
import pytest

from devstack.plan import SERVICES
from devstack.stack import Stack
from testing.eventually import eventually
from testing.long_form import form
from tests.integration.support.load import until_all_paid
from tests.integration.support.own_processes import own_processes
from tests.integration.support.people import People, Person
from tests.integration.support.sandbox import Sandbox

# One after the other; the two processes of a service at the same moment.
GROUPS = (
    ("entry",),
    *((f"{service}-api", f"{service}-worker") for service in SERVICES),
    ("sandbox",),
)
# Enough that every process has a request or an event in hands when its signal comes.
WALKERS = form(short=5, long=10)
PAUSE_SECONDS = 0.05
# Of people who logged in before: nobody gets a code while no SMS can be sent.
RESERVE = form(short=40, long=80)


class Walkers:
    """People who pay one after the other, without end; everything unexpected is a failure."""

    def __init__(self, people: People, reserve: list[Person]) -> None:
        self._people = people
        self._reserve = reserve
        self._may_log_in = asyncio.Semaphore(WALKERS)
        self.phase = ""
        self.accepted: list[Person] = []
        self.walks: Counter[str] = Counter()
        self.failures: list[str] = []

    async def walk(self) -> None:
        while True:
            phase = self.phase
            try:
                await self._pay(await self._somebody())
                self.walks[phase] += 1
            except (AssertionError, httpx2.HTTPError) as error:
                self.failures.append(f"{phase} to {self.phase}: {error!r}")
            await asyncio.sleep(PAUSE_SECONDS)

    @asynccontextmanager
    async def without_logins(self) -> AsyncIterator[None]:
        """Inside, the people of the reserve walk; it begins when the last login is over."""
        for _ in range(WALKERS):
            await self._may_log_in.acquire()
        yield
        for _ in range(WALKERS):
            self._may_log_in.release()

    async def _somebody(self) -> Person:
        # A fast machine can be through the reserve before the sandbox is back.
        if self._may_log_in.locked() and self._reserve:
            return self._reserve.pop()
        async with self._may_log_in:
            return await self._people.logged_in()

    async def _pay(self, person: Person) -> None:
        contribution = await person.assess()
        order = await person.pay(contribution["id"])
        self.accepted.append(person)
        await person.contribution(contribution["id"])
        assert (await person.get("/notifier/v1/notifications"))["items"] is not None
        found = await person.call("GET", f"/payment/v1/orders/{order['payment_order_id']}")
        # The order is opened by an event that may still be on its way.
        assert found.status_code in (200, 404), f"{found.status_code}: {found.text}"


@pytest.fixture
async def patient_http(stack: Stack) -> AsyncIterator[httpx2.AsyncClient]:
    """A client that tries again to connect, as phones do; what it sent it never sends again."""
    transport = httpx2.AsyncHTTPTransport(trust_env=False, retries=6)
    async with httpx2.AsyncClient(
        base_url=stack.urls["entry"], transport=transport, timeout=15.0
    ) as client:
        yield client


async def test_sigterm_to_every_process_under_load_fails_no_request_and_loses_nothing(
    stack: Stack, patient_http: httpx2.AsyncClient, sandbox: Sandbox
) -> None:
    people = People(stack, patient_http, sandbox)
    with own_processes(stack) as processes:
        walkers = Walkers(people, await _logged_in(people, RESERVE))
        walking = [asyncio.create_task(walkers.walk()) for _ in range(WALKERS)]
        codes: dict[str, int] = {}

        for group in GROUPS:
            async with walkers.without_logins() if "sandbox" in group else nullcontext():
                walkers.phase = " and ".join(group)
                codes |= await asyncio.to_thread(processes.restart, group)
            await _until_some_walked(walkers)
        for task in walking:
            task.cancel()
        ends = await asyncio.gather(*walking, return_exceptions=True)

        assert [end for end in ends if not isinstance(end, asyncio.CancelledError)] == []
        assert walkers.failures == []
        assert codes == {name: 0 for group in GROUPS for name in group}
        await until_all_paid(stack, walkers.accepted, within_seconds=60)
        await _until_each_was_charged_and_told_once(stack, sandbox, walkers.accepted)


async def _logged_in(people: People, count: int) -> list[Person]:
    """A few at a time: all at once would wait longer for connections than identity lets them."""
    gate = asyncio.Semaphore(WALKERS)

    async def log_in() -> Person:
        async with gate:
            return await people.logged_in()

    return list(await asyncio.gather(*(log_in() for _ in range(count))))


async def _until_some_walked(walkers: Walkers) -> None:
    phase = walkers.phase
    await eventually(lambda: walkers.walks[phase] >= WALKERS or walkers.failures, 20)


async def _until_each_was_charged_and_told_once(
    stack: Stack, sandbox: Sandbox, persons: list[Person]
) -> None:
    once = dict.fromkeys((person.id for person in persons), 1)
    payers = _payers(stack)
    charges = [c for c in await sandbox.charges() if c["status"] == "succeeded"]
    charged = Counter(payers.get(UUID(charge["attempt_id"])) for charge in charges)
    assert {person.id: charged[person.id] for person in persons} == once

    async def told() -> bool:
        texts = Counter(m["phone"] for m in await sandbox.messages() if "1,454.00" in m["text"])
        assert {person.id: texts[person.phone] for person in persons} == once
        return True

    await eventually(told, within_seconds=30)


def _payers(stack: Stack) -> dict[UUID, UUID]:
    """Attempt to charge → who pays."""
    with psycopg.connect(stack.databases["payment"]) as connection:
        rows = connection.execute(
            "SELECT a.id, o.insured_person_id FROM payment_attempt a"
            " JOIN payment_order o ON o.id = a.order_id"
        ).fetchall()
    return dict(rows)
