"""Counts outcomes per channel and minute with faust: the one module that knows it.

It observes, and writes no fact: what it loses costs an observation. It runs as a component of our
own process, since faust's command line replaces the log handlers that remove personal data.
"""

import asyncio
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import faust
import msgspec
import structlog

from services.notifier.adapters.metrics import STREAM_RECORDS
from services.notifier.domain.channel_windows import (
    KEPT_SECONDS,
    Counts,
    Observation,
    observe,
    window_of,
)
from shared.kernel.clock import Clock
from shared.kernel.errors import Malformed, Unavailable
from shared.kernel.events import CONTRIBUTIONS_TOPIC, ORDERS_TOPIC, decode
from shared.runtime.ground.waiting import Stopping, unless_stopping
from shared.runtime.messaging.topics import PARTITION_COUNT, STREAM_APP, STREAM_TABLE
from shared.runtime.process.health import Health, NotReady

TOPICS = (CONTRIBUTIONS_TOPIC, ORDERS_TOPIC)
# A successor waits this long for its first event after a kill.
SESSION_SECONDS = 10.0
HEARTBEAT_SECONDS = 3.0
# With the recovery of the table, which has been seen not to end.
START_DEADLINE_SECONDS = 300.0
# An event from further ahead has a wrong clock, and would make all others late.
AHEAD_SECONDS = 300
COUNTED, IGNORED, REPEATED, LATE, BAD = "counted", "ignored", "repeated", "late", "bad"

log = structlog.get_logger(__name__)


class ChannelStream:
    """A Component. A table key is `window|partition|channel|region` and is written from that
    partition alone, so no worker overwrites what another counted.
    """

    name = "stream"

    def __init__(
        self,
        *,
        bootstrap_servers: str,
        replication_factor: int,
        clock: Clock,
        health: Health,
        app_id: str = STREAM_APP,
        topics: tuple[str, ...] = TOPICS,
    ) -> None:
        self._settings: dict[str, Any] = {
            "id": app_id,
            "broker": [f"kafka://{server}" for server in bootstrap_servers.split(",")],
            "topic_replication_factor": replication_factor,
        }
        self._topics = topics
        self._clock = clock
        self._health = health
        self._app: Any = None
        self._table: Any = None
        # Partition → its newest window; rebuilt from the table by the first event after a start.
        self._newest: dict[int, int] = {}
        for outcome in (COUNTED, IGNORED, REPEATED, LATE, BAD):
            STREAM_RECORDS.labels(outcome)

    async def run(self, stopping: asyncio.Event) -> None:
        """Raises Unavailable where the start, with the recovery of the table, takes too long."""
        self._health.ready_checks[self.name] = self._check
        with tempfile.TemporaryDirectory(prefix="songhe-stream-") as folder:
            self._app = self._build(folder)
            try:
                await self._start(stopping)
                await self._app.wait_for_stopped(stopping.wait())
                self._raise_if_ended(stopping)
            except Stopping:
                return
            finally:
                await self._app.stop()

    def windows(self) -> Mapping[tuple[str, str], Mapping[int, Counts]]:
        """(channel, region) → window → counts, over the partitions that this process has now."""
        found: dict[tuple[str, str], dict[int, Counts]] = {}
        if self._table is None:
            return found
        for key, counts in self._entries():
            window, _, channel, region = _parts(key)
            windows = found.setdefault((channel, region), {})
            windows[window] = windows.get(window, Counts()) + counts
        return found

    def _entries(self) -> Iterable[tuple[str, Counts]]:
        topic = self._table.changelog_topic.get_topic_name()
        ours = {tp.partition for tp in self._app.assignor.assigned_actives() if tp.topic == topic}
        for key, value in list(self._table.items()):
            if _parts(key)[1] in ours:
                yield key, _entry(value).counts

    def _build(self, folder: str) -> Any:
        app = faust.App(
            **self._settings,
            datadir=folder,
            store="memory://",
            processing_guarantee="exactly_once",
            broker_session_timeout=SESSION_SECONDS,
            broker_heartbeat_interval=HEARTBEAT_SECONDS,
            topic_partitions=PARTITION_COUNT,
            topic_allow_declare=False,
            topic_disable_leader=True,
            table_standby_replicas=0,
            web_enabled=False,
            autodiscover=False,
            # A stop waits for no batch: what was not committed is counted again.
            stream_wait_empty=False,
        )
        self._table = app.Table(
            STREAM_TABLE, key_type=str, value_type=str, partitions=PARTITION_COUNT
        )
        source = app.topic(
            *self._topics,
            key_type=bytes,
            key_serializer="raw",
            value_type=bytes,
            value_serializer="raw",
            allow_empty=True,
        )
        app.agent(source, name="count_outcomes")(self._count)
        app.finalize()
        return app

    async def _count(self, stream: Any) -> None:
        async for event in stream.events():
            try:
                outcome = self._apply(event.message)
            except Exception as error:  # noqa: BLE001 - one bad event must cost nothing
                outcome = BAD
                log.warning("stream_record_skipped", error=type(error).__name__)
            STREAM_RECORDS.labels(outcome).inc()

    def _apply(self, message: Any) -> str:
        seen = self._read(message)
        if seen is None:
            return IGNORED
        partition: int = message.partition
        newest = max(seen.window, self._newest_of(partition))
        if seen.window < newest - KEPT_SECONDS:
            return LATE
        if newest > self._newest[partition]:
            self._newest[partition] = newest
            self._expire(partition, newest - KEPT_SECONDS)
        key = f"{seen.window}|{partition}|{seen.channel}|{seen.region}"
        entry = _entry(self._table.get(key))
        if message.offset <= entry.offsets.get(message.topic, -1):
            return REPEATED
        entry = _Entry(entry.counts + seen.counts, {**entry.offsets, message.topic: message.offset})
        self._table[key] = msgspec.json.encode(entry).decode()
        return COUNTED

    def _read(self, message: Any) -> Observation | None:
        headers = message.headers or ()
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        seen = observe(decode(pairs, message.value))
        if seen is not None and seen.window > window_of(self._clock.now()) + AHEAD_SECONDS:
            raise Malformed("the event comes from the future")
        return seen

    def _newest_of(self, partition: int) -> int:
        """After a start or a rebalance the table says more than this process remembers."""
        if partition not in self._newest:
            windows = [_parts(key)[0] for key in self._table if _parts(key)[1] == partition]
            self._newest[partition] = max(windows, default=0)
        return self._newest[partition]

    def _expire(self, partition: int, oldest: int) -> None:
        """Written to the changelog as tombstones, so that no restart brings them back."""
        for key in list(self._table):
            window, owner, _, _ = _parts(key)
            if owner == partition and window < oldest:
                del self._table[key]

    async def _check(self) -> None:
        if self._app is None or not self._app.started:
            raise NotReady("The stream has not started.")
        if self._app.crashed:
            raise NotReady("The stream has failed.")
        if self._app.rebalancing or not self._app.tables.recovery.completed.is_set():
            raise NotReady("The stream recovers what it counted before.")

    async def _start(self, stopping: asyncio.Event) -> None:
        """Raises Stopping as soon as the process is told to stop."""
        try:
            async with asyncio.timeout(START_DEADLINE_SECONDS):
                await unless_stopping(stopping, self._app.start())
        except TimeoutError:
            raise Unavailable(
                "stream_not_started",
                f"The stream did not start and recover in {START_DEADLINE_SECONDS:g} s.",
            ) from None

    def _raise_if_ended(self, stopping: asyncio.Event) -> None:
        if self._app.crashed or not stopping.is_set():
            raise Unavailable("stream_ended", "The stream ended by itself.") from (
                self._app.crash_reason
            )


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    """Counts, and the last offset of each topic in them: a kill right after a write was seen to
    keep the changelog and to lose the commit of what was read.
    """

    counts: Counts = Counts()
    offsets: dict[str, int] = {}


def _entry(value: str | None) -> _Entry:
    """Values are text: with `list` as their type faust writes them, and can never recover them."""
    return msgspec.json.decode(value, type=_Entry) if value else _Entry()


def _parts(key: str) -> tuple[int, int, str, str]:
    window, partition, channel, region = key.split("|")
    return int(window), int(partition), channel, region
