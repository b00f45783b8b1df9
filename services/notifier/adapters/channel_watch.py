"""Looks at the counted windows, reports them, and announces which channels are slow."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from services.notifier.adapters.metrics import CHANNEL_OUTCOMES, CHANNEL_SLOW
from services.notifier.domain.channel_windows import (
    KEPT_SECONDS,
    NOT_CHOSEN,
    Counts,
    Limits,
    Pace,
    Standing,
    judge,
    total,
    window_of,
)
from shared.kernel.channel_events import (
    REPEATED_SECONDS,
    ChannelNormal,
    ChannelSlow,
    encode,
)
from shared.kernel.clock import Clock
from shared.runtime.ground.waiting import wait_for_any
from shared.runtime.messaging.kafka_closing import close_producer
from shared.runtime.messaging.topics import CHANNELS_TOPIC

LOOK_SECONDS = 2.0
SEND_DEADLINE_SECONDS = 5.0

Place = tuple[str, str]
Windows = Mapping[Place, Mapping[int, Counts]]

log = structlog.get_logger(__name__)


class ChannelWatch:
    """A Component. What it cannot send is sent again with the next repetition, or lost."""

    name = "channel_watch"

    def __init__(
        self,
        windows: Callable[[], Windows],
        bootstrap_servers: str,
        *,
        clock: Clock,
        limits: Limits | None = None,
        topic: str = CHANNELS_TOPIC,
    ) -> None:
        self._windows = windows
        self._bootstrap_servers = bootstrap_servers
        self._clock = clock
        self._limits = limits or Limits()
        self._topic = topic
        self._standings: dict[Place, Standing] = {}
        self._sent_at: dict[Place, datetime] = {}
        self._producer: AIOKafkaProducer | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        try:
            while not await wait_for_any(stopping, timeout_seconds=LOOK_SECONDS):
                await self._announce(self.look())
        finally:
            await self._close()

    def look(self) -> list[tuple[Place, Standing]]:
        """Judge every place anew; returns those whose pace changed, or that are due again."""
        now = self._clock.now()
        oldest = window_of(now) - self._limits.read_seconds
        windows = self._windows()
        _report(windows, window_of(now) - KEPT_SECONDS)
        due = []
        for place in {*windows, *self._standings}:
            if place[0] == NOT_CHOSEN:
                continue
            recent = total(c for at, c in windows.get(place, {}).items() if at >= oldest)
            before = self._standings.get(place)
            after = judge(before, recent, self._limits, now)
            self._standings[place] = after
            CHANNEL_SLOW.labels(*place).set(after.pace is Pace.SLOW)
            if self._is_due(place, before, after, now):
                due.append((place, after))
        return due

    def _is_due(
        self, place: Place, before: Standing | None, after: Standing, now: datetime
    ) -> bool:
        if after.pace is not (before.pace if before else Pace.NORMAL):
            return True
        sent_at = self._sent_at.get(place)
        is_old = sent_at is None or (now - sent_at).total_seconds() >= REPEATED_SECONDS
        return after.pace is Pace.SLOW and is_old

    async def _announce(self, due: list[tuple[Place, Standing]]) -> None:
        for (channel, region), standing in due:
            kind = ChannelSlow if standing.pace is Pace.SLOW else ChannelNormal
            now = self._clock.now()
            value = encode(
                kind(channel=channel, region=region, since=standing.since, observed_at=now)
            )
            if await self._send(f"{channel}|{region}".encode(), value):
                self._sent_at[channel, region] = now
            log.info("channel_pace", channel=channel, region=region, pace=standing.pace.value)

    async def _send(self, key: bytes, value: bytes) -> bool:
        try:
            async with asyncio.timeout(SEND_DEADLINE_SECONDS):
                if self._producer is None:
                    self._producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap_servers)
                    await self._producer.start()
                await self._producer.send_and_wait(self._topic, value, key=key)
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("channel_pace_not_sent", error=type(error).__name__)
            await self._close()
            return False
        return True

    async def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await close_producer(producer)


def _report(windows: Windows, oldest: int) -> None:
    CHANNEL_OUTCOMES.clear()
    for place, counted in windows.items():
        counts = total(count for at, count in counted.items() if at >= oldest)
        for outcome in ("requested", "settled", "failed", "unknown"):
            CHANNEL_OUTCOMES.labels(*place, outcome).set(getattr(counts, outcome))
