"""People as the services see them: somebody with a token, or somebody who logs in by phone."""

import random
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2

from devstack.stack import Stack
from shared.kernel.clock import shanghai_month
from shared.runtime.keys.access_token import SigningKeys, sign_access_token
from testing.eventually import eventually
from tests.integration.support.sandbox import Sandbox

BEIJING = "110000"
# The published floor of Beijing for 2026-07 to 2027-06: 7,270 yuan.
BEIJING_FLOOR_FEN = 727_000


def new_phone() -> str:
    """A number of the range 199, at random so that tests do not meet each other's limits."""
    return f"+86199{random.randrange(10**8):08d}"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can call the API."""

    id: UUID
    token: str
    phone: str | None
    http: httpx2.AsyncClient

    async def call(
        self, method: str, path: str, *, key: str | None = None, **more: Any
    ) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.token}"} | more.pop("headers", {})
        if key is not None:
            headers["Idempotency-Key"] = key
        return await self.http.request(method, path, headers=headers, **more)

    async def get(self, path: str) -> dict[str, Any]:
        return _expect(await self.call("GET", path), 200)

    async def assess(
        self, *, region: str = BEIJING, base_fen: int = BEIJING_FLOOR_FEN
    ) -> dict[str, Any]:
        """The contribution for this month."""
        answer = await self.call(
            "POST",
            "/billing/v1/contributions",
            key=str(uuid.uuid4()),
            json={
                "scheme": "flexible",
                "region": region,
                "period": shanghai_month(datetime.now(UTC)),
                "base_fen": base_fen,
            },
        )
        return _expect(answer, 200, 201)

    async def pay(self, contribution_id: str) -> dict[str, Any]:
        answer = await self.call(
            "POST",
            f"/billing/v1/contributions/{contribution_id}/payment",
            key=str(uuid.uuid4()),
            json={},
        )
        return _expect(answer, 202)

    async def contribution(self, contribution_id: str) -> dict[str, Any]:
        return await self.get(f"/billing/v1/contributions/{contribution_id}")

    async def until_status(
        self, contribution_id: str, status: str, *, within_seconds: float = 20.0
    ) -> dict[str, Any]:
        """The contribution, as soon as it has this status."""

        async def has_status() -> dict[str, Any]:
            found = await self.contribution(contribution_id)
            assert found["status"] == status, f"it is {found['status']}"
            return found

        return await eventually(has_status, within_seconds)


class People:
    """Makes people."""

    def __init__(self, stack: Stack, http: httpx2.AsyncClient, sandbox: Sandbox) -> None:
        self._http = http
        self._sandbox = sandbox
        folder = stack.environment_for("identity", "api")["SONGHE_ACCESS_TOKEN_KEYS_DIR"]
        self._keys = SigningKeys(Path(folder))

    def somebody(self) -> Person:
        """A person with a valid token whom identity does not know: enough where no SMS is sent."""
        person_id = uuid.uuid4()
        token = sign_access_token(
            self._keys.newest,
            insured_person_id=person_id,
            session_id=uuid.uuid4(),
            now=datetime.now(UTC),
        )
        return Person(id=person_id, token=token, phone=None, http=self._http)

    async def logged_in(self, phone: str | None = None) -> Person:
        """A person who asked for a code and used it."""
        phone = phone or new_phone()
        session = await self.session(phone)
        return Person(
            id=UUID(session["insured_person_id"]),
            token=session["access_token"],
            phone=phone,
            http=self._http,
        )

    async def session(self, phone: str) -> dict[str, Any]:
        """Log in by SMS code; the whole answer of `POST /identity/v1/sessions`."""
        answer = await self._http.post(
            "/identity/v1/sms-codes", json={"phone": phone, "purpose": "login"}
        )
        request_id = _expect(answer, 202)["request_id"]
        code = await self.code_sent_to(phone)
        answer = await self._http.post(
            "/identity/v1/sessions", json={"request_id": request_id, "code": code}
        )
        return _expect(answer, 201)

    async def code_sent_to(self, phone: str) -> str:
        async def latest() -> str | None:
            for message in reversed(await self._sandbox.messages_to(phone)):
                if found := re.search(r"\d{6}", message["text"]):
                    return found.group()
            return None

        code = await eventually(latest)
        assert code is not None
        return code


def _expect(answer: httpx2.Response, *statuses: int) -> dict[str, Any]:
    assert answer.status_code in statuses, f"{answer.status_code}: {answer.text[:500]}"
    body: dict[str, Any] = answer.json()
    return body
