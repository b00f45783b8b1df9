"""Load at a fixed rate in a thread of its own, and what the clients were told."""

import asyncio
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import psycopg
import redis

from shared.runtime.keys.access_token import SigningKeys, sign_access_token
from shared.runtime.keys.sealing import Sealer
from testing.stacks.generator import Generator
from tests.crash.stacks import CrashStack

PREPARE_SECONDS = 240.0
AT_ONCE = 16
# How long a client keeps asking for an answer that it did not get.
CLIENT_PATIENCE_SECONDS = 180.0
CLIENT_PAUSE_SECONDS = 0.25
CONTACT_SECONDS = 3600


class Load(ABC):
    """`prepare` assesses, `start` begins to request payments, `finish` gives what was answered.

    `acknowledged`: order → contribution.
    """

    def __init__(self, stack: CrashStack, *, rate: float, seconds: float) -> None:
        self.stack = stack
        self.rate = rate
        self.seconds = seconds
        self.acknowledged: dict[UUID, UUID] = {}
        # Clients that gave up; the others asked again until they were answered.
        self.unanswered: list[str] = []
        self._prepared, self._go = threading.Event(), threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    @property
    def count(self) -> int:
        return round(self.rate * self.seconds)

    def prepare(self) -> None:
        """Everything that comes before the payments; blocking. Raises what failed."""
        self._thread.start()
        if not self._prepared.wait(PREPARE_SECONDS):
            raise TimeoutError("the load was not prepared in time") from self._failure
        self._raise()

    def start(self) -> None:
        self._go.set()

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def finish(self) -> None:
        """Wait for the last answer. Raises what failed in the generator itself."""
        self._thread.join(self.seconds + 2 * CLIENT_PATIENCE_SECONDS)
        self._raise()

    @abstractmethod
    async def assess(self) -> None: ...

    @abstractmethod
    async def request(self) -> None: ...

    async def close(self) -> None:
        return None

    def _run(self) -> None:
        try:
            asyncio.run(self._both())
        except BaseException as error:  # noqa: BLE001 - told to whoever waits
            self._failure = error
        finally:
            self._prepared.set()

    async def _both(self) -> None:
        try:
            await self.assess()
            self._prepared.set()
            await asyncio.to_thread(self._go.wait)
            await self.request()
        finally:
            await self.close()

    def _raise(self) -> None:
        if self._failure is not None:
            raise RuntimeError("the load failed") from self._failure


class CoreLoad(Load):
    """Payments requested in sets by billing's own code."""

    async def assess(self) -> None:
        self._generator = Generator(self.stack.databases["billing"])
        await self._generator.assess(self.count)

    async def request(self) -> None:
        history = await self._generator.run(rate=self.rate, seconds=self.seconds)
        self.acknowledged |= {
            order.payment_order_id: order.contribution_id for order in history.acknowledged
        }

    async def close(self) -> None:
        await self._generator.close()


@dataclass(frozen=True, slots=True)
class Client:
    """One person with a phone, and the contribution that the person pays."""

    contribution_id: str
    token: str
    key: str = field(default_factory=lambda: str(uuid.uuid4()))


class WireLoad(Load):
    """Payments through billing's API, each by a person who asks again with the same key."""

    async def assess(self) -> None:
        """In sets: the load is the payments."""
        stack = self.stack.stack
        self._http = httpx2.AsyncClient(
            base_url=stack.urls["billing"],
            timeout=10.0,
            trust_env=False,
            limits=httpx2.Limits(max_connections=AT_ONCE),
        )
        generator = Generator(self.stack.databases["billing"])
        try:
            await generator.assess(self.count)
        finally:
            await generator.close()
        owed = await asyncio.to_thread(_newest_contributions, self.stack, self.count)
        await asyncio.to_thread(_make_known, self.stack, [person for _, person in owed])
        folder = stack.environment_for("identity", "api")["SONGHE_ACCESS_TOKEN_KEYS_DIR"]
        keys = SigningKeys(Path(folder))
        self._clients = [
            Client(contribution_id=str(contribution), token=_token(keys, person))
            for contribution, person in owed
        ]

    async def request(self) -> None:
        """Open loop: each arrival has its time, whatever became of those before."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as arrivals:
            for number, client in enumerate(self._clients):
                await asyncio.sleep(max(0.0, began + number / self.rate - time.monotonic()))
                arrivals.create_task(self._serve(client))

    async def close(self) -> None:
        await self._http.aclose()

    async def _serve(self, client: Client) -> None:
        try:
            await self.pay(client)
        except TimeoutError as error:
            self.unanswered.append(str(error))

    async def pay(self, client: Client) -> None:
        """Raises TimeoutError for a client that got no answer."""
        await self.request_payment(client, {})

    async def request_payment(self, client: Client, body: dict[str, object]) -> str:
        """The order that the client was told of."""
        path = f"/billing/v1/contributions/{client.contribution_id}/payment"
        answer = await self.post(self._http, path, client, body)
        order_id = str(answer["payment_order_id"])
        self.acknowledged[UUID(order_id)] = UUID(client.contribution_id)
        return order_id

    async def post(
        self, http: httpx2.AsyncClient, path: str, client: Client, body: dict[str, object]
    ) -> dict[str, Any]:
        """Ask until there is an answer, with the client's one key. Raises TimeoutError."""
        headers = {"Authorization": f"Bearer {client.token}", "Idempotency-Key": client.key}
        deadline = time.monotonic() + CLIENT_PATIENCE_SECONDS
        while True:
            try:
                answer = await http.post(path, json=body, headers=headers)
                if answer.is_success:
                    told: dict[str, Any] = answer.json()
                    return told
                problem = f"{answer.status_code} {answer.text[:200]}"
            except httpx2.TransportError as error:
                problem = repr(error)
            if time.monotonic() > deadline:
                raise TimeoutError(f"no answer in time to {path}: {problem}")
            await asyncio.sleep(CLIENT_PAUSE_SECONDS)


def _newest_contributions(stack: CrashStack, count: int) -> list[tuple[UUID, UUID]]:
    """(contribution, insured person) of those that nobody has paid yet, as just assessed."""
    with psycopg.connect(stack.databases["billing"]) as connection:
        return connection.execute(
            "SELECT id, insured_person_id FROM contribution WHERE status = 'ASSESSED'"
            " ORDER BY created_at DESC LIMIT %s",
            (count,),
        ).fetchall()


def _token(keys: SigningKeys, person: UUID) -> str:
    return sign_access_token(
        keys.newest, insured_person_id=person, session_id=uuid.uuid4(), now=datetime.now(UTC)
    )


def _make_known(stack: CrashStack, people: Sequence[UUID]) -> None:
    """Notifier has looked their phones up a moment ago: they never logged in here."""
    settings = stack.stack.environment_for("notifier", "worker")
    sealer = Sealer.from_file(Path(settings["SONGHE_CONTACT_CACHE_KEY_FILE"]))
    client = redis.Redis.from_url(settings["SONGHE_REDIS_URL"])
    with client.pipeline() as pipeline:
        for number, person in enumerate(people):
            phone = f"+8619900{number:06d}".encode()
            sealed = sealer.seal(phone, person.bytes)
            pipeline.set(f"notifier:contact:{person}", sealed, ex=CONTACT_SECONDS)
        pipeline.execute()
    client.close()
