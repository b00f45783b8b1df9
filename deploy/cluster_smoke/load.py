"""People who pay without a pause, from inside the cluster, until SIGTERM; then the sum.

Runs in a pod with the entry's image and needs nothing of this project. Exit code 0: no request
failed, every contribution was paid by one charge, every payer got one SMS about it.
"""

import asyncio
import json
import os
import random
import re
import signal
import sys
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx2

PAYERS_AT_ONCE = 4
PAID_POLLS_MAX = 400
POLL_SECONDS = 0.2
SHANGHAI = timezone(timedelta(hours=8))
BEIJING_FLOOR_FEN = 727_000


class RequestFailed(Exception):
    """An answer that a payer should never see, or none at all."""


@dataclass
class Book:
    """What happened so far."""

    requests: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    # Phone → contribution of everybody whose payment was accepted.
    accepted: dict[str, str] = field(default_factory=dict)
    paid: set[str] = field(default_factory=set)


class Payer:
    """One person: login, assessment, payment, and a look until it is paid."""

    def __init__(self, entry: httpx2.AsyncClient, sandbox: httpx2.AsyncClient, book: Book) -> None:
        self._entry = entry
        self._sandbox = sandbox
        self._book = book
        self._headers: dict[str, str] = {}
        self.phone = f"+86199{random.randrange(10**8):08d}"

    async def pay(self) -> None:
        request = await self._send(
            "POST", "/identity/v1/sms-codes", json={"phone": self.phone, "purpose": "login"}
        )
        session = await self._send(
            "POST",
            "/identity/v1/sessions",
            json={"request_id": request["request_id"], "code": await self._code()},
        )
        self._headers = {"Authorization": f"Bearer {session['access_token']}"}
        assessed = {
            "scheme": "flexible",
            "region": "110000",
            "period": datetime.now(SHANGHAI).strftime("%Y-%m"),
            "base_fen": BEIJING_FLOOR_FEN,
        }
        contribution = (await self._send("POST", "/billing/v1/contributions", json=assessed))["id"]
        await self._send("POST", f"/billing/v1/contributions/{contribution}/payment", json={})
        self._book.accepted[self.phone] = contribution
        for _ in range(PAID_POLLS_MAX):
            if await self._status(contribution) == "paid":
                self._book.paid.add(self.phone)
                return
            await asyncio.sleep(POLL_SECONDS)
        raise RequestFailed(f"not paid after {PAID_POLLS_MAX} looks")

    async def _status(self, contribution: str) -> str:
        found = await self._send("GET", f"/billing/v1/contributions/{contribution}")
        return str(found["status"])

    async def _code(self) -> str:
        messages = await sms(self._sandbox, self.phone)
        found = re.search(r"\d{6}", messages[-1])
        if found is None:
            raise RequestFailed(f"no code in {messages[-1]}")
        return found.group()

    async def _send(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        """One request, sent once: nothing is tried again behind the payer's back."""
        headers = self._headers | ({"Idempotency-Key": str(uuid.uuid4())} if self._headers else {})
        self._book.requests += 1
        try:
            answer = await self._entry.request(method, path, headers=headers, **more)
        except httpx2.TransportError as error:
            raise RequestFailed(f"{method} {_shape(path)}: {error!r}") from error
        if answer.status_code >= 400:
            raise RequestFailed(f"{method} {_shape(path)}: {answer.status_code} {answer.text}")
        found: dict[str, Any] = answer.json()
        return found


async def sms(sandbox: httpx2.AsyncClient, phone: str) -> list[str]:
    answer = await sandbox.get("/sandbox/v1/sms", params={"phone": phone})
    return [item["text"] for item in answer.raise_for_status().json()["items"]]


async def main() -> int:
    book, stopping = Book(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with _client(os.environ["ENTRY"]) as entry, _client(os.environ["SANDBOX"]) as sandbox:
        before = await _charges(sandbox)
        async with asyncio.TaskGroup() as payers:
            for _ in range(PAYERS_AT_ONCE):
                payers.create_task(_pay_on(entry, sandbox, book, stopping))
        charged = await _charges(sandbox) - before
        untold = await _not_told_once(sandbox, book)
    unpaid = sorted(set(book.accepted) - book.paid)
    result = {
        "requests": book.requests,
        "failed_requests": sum(book.failures.values()),
        "failures": dict(book.failures.most_common(10)),
        "accepted": len(book.accepted),
        "paid": len(book.paid),
        "charged": charged,
        "not_told_once": len(untold),
    }
    sys.stdout.write(json.dumps(result) + "\n")
    is_right = not book.failures and not unpaid and not untold and charged == len(book.accepted)
    return 0 if is_right and book.accepted else 1


async def _pay_on(
    entry: httpx2.AsyncClient, sandbox: httpx2.AsyncClient, book: Book, stopping: asyncio.Event
) -> None:
    while not stopping.is_set():
        try:
            await Payer(entry, sandbox, book).pay()
        except RequestFailed as error:
            book.failures[str(error)[:300]] += 1


async def _charges(sandbox: httpx2.AsyncClient) -> int:
    answer = await sandbox.get("/sandbox/v1/charges/totals")
    return int(answer.raise_for_status().json()["succeeded_count"])


async def _not_told_once(sandbox: httpx2.AsyncClient, book: Book) -> list[str]:
    """Whose SMS about the money received did not come within a minute, or came twice."""
    untold = list(book.paid)
    for _ in range(30):
        counts = {phone: await _told(sandbox, phone) for phone in untold}
        untold = [phone for phone, count in counts.items() if count != 1]
        if not untold or any(count > 1 for count in counts.values()):
            break
        await asyncio.sleep(2)
    return untold


async def _told(sandbox: httpx2.AsyncClient, phone: str) -> int:
    return sum("已收到" in text for text in await sms(sandbox, phone))


def _client(url: str) -> httpx2.AsyncClient:
    # Lets go of idle connections sooner than servers close them.
    limits = httpx2.Limits(keepalive_expiry=1.0)
    return httpx2.AsyncClient(base_url=url, timeout=30.0, limits=limits, trust_env=False)


def _shape(path: str) -> str:
    return re.sub(r"[0-9a-f-]{36}", "…", path)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
