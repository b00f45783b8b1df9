"""The stream process over a real broker: what it counts is what an independent counter counts."""

import asyncio
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import pytest
from aiokafka import AIOKafkaProducer

from shared.kernel.events import Event, Message
from shared.runtime.messaging.topics import STREAM_TABLE, Topic, create_topics
from testing.builders import (
    kafka_record,
    message,
    payment_delayed,
    payment_failed,
    payment_requested,
    payment_settled,
)
from testing.servers import Infrastructure

ROOT = Path(__file__).resolve().parents[3]
# Only a failure takes so long.
DEADLINE_SECONDS = 240.0
POLL_SECONDS = 0.2
PHONE = "13912345678"
LINE = re.compile(
    r'songhe_channel_outcomes\{channel="([^"]+)",outcome="(\w+)",region="(\d+)"\} (.+)'
)

Expected = Counter[tuple[str, str, str]]


@dataclass
class Stream:
    """One name, its topics, and the processes that run under it."""

    servers: str
    folder: Path
    app_id: str = field(default_factory=lambda: f"test-stream-{secrets.token_hex(6)}")
    running: list["Process"] = field(default_factory=list)

    @property
    def topics(self) -> tuple[str, str]:
        return f"{self.app_id}.contributions", f"{self.app_id}.orders"

    @property
    def announced(self) -> str:
        return f"{self.app_id}.channels"

    async def create(self) -> None:
        changelog = Topic(
            f"{self.app_id}-{STREAM_TABLE}-changelog", cleanup_policy="compact,delete"
        )
        names = (*self.topics, self.announced)
        await create_topics(self.servers, topics=(*map(Topic, names), changelog))

    def start(self) -> "Process":
        process = Process(self)
        self.running.append(process)
        return process

    async def publish(self, messages: Sequence[Message[Any]]) -> None:
        records = [(self._topic(told.body), *kafka_record(told)) for told in messages]
        await self.send(records)

    async def send(self, records: Sequence[tuple[str, bytes, Any, bytes | None]]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.servers)
        await producer.start()
        try:
            for topic, key, headers, value in records:
                await producer.send(topic, value, key=key, headers=list(headers))
            await producer.flush()
        finally:
            await producer.stop()

    def counted(self) -> Expected:
        """Summed over all processes, as Prometheus does."""
        found: Expected = Counter()
        for process in self.running:
            if process.is_alive:
                found += process.outcomes()
        return found

    async def wait_for(self, expected: Expected) -> None:
        await until(lambda: self.counted() == expected, lambda: f"{self.counted()} {self.output()}")

    def output(self) -> str:
        return "".join(process.output() for process in self.running)

    def _topic(self, body: Event) -> str:
        return self.topics[0] if body.topic.startswith("billing") else self.topics[1]


class Process:
    """`python -m services.notifier stream`, with a file for each of its two outputs."""

    def __init__(self, stream: Stream) -> None:
        self.port = _free_port()
        number = len(stream.running)
        self._files: list[IO[str]] = [
            (stream.folder / f"{number}.{name}").open("w+") for name in ("out", "err")
        ]
        module = "services.notifier.tests.stream_process"
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                module,
                stream.app_id,
                ",".join(stream.topics),
                stream.announced,
            ],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "SONGHE_ENVIRONMENT": "development",
                "SONGHE_DATABASE_URL": "postgresql+asyncpg://nobody@127.0.0.1:1/none",
                "SONGHE_KAFKA_BOOTSTRAP_SERVERS": stream.servers,
                "SONGHE_METRICS_PORT": str(self.port),
            },
            stdout=self._files[0],
            stderr=self._files[1],
        )

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def metrics(self) -> str:
        return self._get("/metrics") or ""

    def is_ready(self) -> bool:
        return self._get("/health/ready") is not None

    def outcomes(self) -> Expected:
        return Counter(
            {(c, r, o): int(float(n)) for c, o, r, n in LINE.findall(self.metrics()) if float(n)}
        )

    def records(self, outcome: str) -> int:
        found = re.search(
            rf'songhe_stream_records_total{{outcome="{outcome}"}} (.+)', self.metrics()
        )
        return int(float(found[1])) if found else 0

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(DEADLINE_SECONDS)

    def close(self) -> None:
        if self.is_alive:
            self.kill()
        for file in self._files:
            file.close()

    def output(self) -> str:
        return "".join(Path(file.name).read_text() for file in self._files)

    def _get(self, path: str) -> str | None:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}{path}", timeout=10
            ) as answer:
                return str(answer.read().decode())
        except OSError:
            return None


@pytest.fixture
async def stream(infrastructure: Infrastructure, tmp_path: Path) -> AsyncIterator[Stream]:
    stream = Stream(infrastructure.kafka, tmp_path)
    await stream.create()
    yield stream
    for process in stream.running:
        process.close()


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
    return port


async def until(condition: Callable[[], bool], report: Callable[[], str]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not await asyncio.to_thread(condition):
        if time.monotonic() > deadline:
            pytest.fail(f"it did not come: {report()[-6000:]}")
        await asyncio.sleep(POLL_SECONDS)


def told(at: datetime, count: int) -> Iterator[Message[Any]]:
    """Four kinds of events of three channels and two regions, each of a person of its own."""
    builders = (payment_requested, payment_settled, payment_failed, payment_delayed)
    for number in range(count):
        yield message(
            builders[number % 4](
                channel=("alipay", "wechatpay", "bank-direct-debit")[number % 3],
                region=("310000", "330100")[number % 2],
            ),
            time=at + timedelta(seconds=number % 60),
        )


def counted_independently(messages: Sequence[Message[Any]]) -> Expected:
    names = {
        "PaymentRequested": "requested",
        "PaymentSettled": "settled",
        "PaymentFailed": "failed",
        "PaymentDelayed": "unknown",
    }
    return Counter((m.body.channel, m.body.region, names[m.body.type]) for m in messages)


async def test_kill_and_restart_count_everything_once(stream: Stream) -> None:
    now = datetime.now(UTC) - timedelta(minutes=5)
    first, late = list(told(now, 120)), list(told(now - timedelta(minutes=20), 60))
    process = stream.start()
    await stream.publish(first)
    await stream.wait_for(counted_independently(first))

    process.kill()
    await stream.publish(late)
    successor = stream.start()

    await stream.wait_for(counted_independently([*first, *late]))
    assert successor.is_ready()
    assert successor.stop() == 0, stream.output()


async def test_a_bad_event_costs_nothing_and_is_counted(stream: Stream) -> None:
    good = list(told(datetime.now(UTC) - timedelta(minutes=5), 40))
    process = stream.start()
    key, headers, value = kafka_record(good[0])
    orders = stream.topics[1]
    future = message(payment_settled(), time=datetime.now(UTC) + timedelta(days=400))
    bad = [
        (orders, key, headers, b"\xff\xfe"),
        (orders, key, headers, None),
        (orders, key, (), value),
        (orders, key, (("ce_type", PHONE.encode()),), f'{{"phone": "{PHONE}"}}'.encode()),
        (orders, *kafka_record(future)),
    ]
    await stream.send(bad)
    await stream.publish(good)

    await stream.wait_for(counted_independently(good))
    await until(lambda: process.records("bad") == len(bad), stream.output)
    assert process.stop() == 0
    assert PHONE not in stream.output()


async def test_two_workers_share_the_partitions_and_lose_nothing(stream: Stream) -> None:
    messages = list(told(datetime.now(UTC) - timedelta(minutes=5), 60))
    one, two = stream.start(), stream.start()
    await until(lambda: one.is_ready() and two.is_ready(), stream.output)
    await stream.publish(messages)
    await stream.wait_for(counted_independently(messages))

    assert one.stop() == 0

    await stream.wait_for(counted_independently(messages))
