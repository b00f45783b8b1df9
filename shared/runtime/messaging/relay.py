"""The relay sends committed outbox rows to Kafka: at least once, in order per aggregate.

A round has at most one batch per partition in flight and waits for every answer. Only
acknowledged rows are marked, in the statement that reads the next ones. After an error it starts
again from the oldest unsent row.
"""

import asyncio
from collections.abc import Sequence
from uuid import uuid4

import structlog
from aiokafka.errors import KafkaError

from shared.runtime.database.database import Database
from shared.runtime.database.statements import Connection
from shared.runtime.ground import crash_points
from shared.runtime.ground.backoff import Backoff
from shared.runtime.ground.metrics import (
    OUTBOX_OLDEST_AGE_SECONDS,
    OUTBOX_UNSENT,
    RELAY_ERRORS,
    RELAY_LEASE_HELD,
    RELAY_SECONDS,
    RELAY_SENT,
)
from shared.runtime.ground.waiting import Stopping, wait_for_any
from shared.runtime.messaging.lease import Lease
from shared.runtime.messaging.outbox import Sendable, mark_sent, measure, read_resend, read_unsent
from shared.runtime.messaging.sender import Sender
from shared.runtime.messaging.topics import WrongPartitions

log = structlog.get_logger(__name__)

ROUND_ROWS_MAX = 2000
# Commits of other processes are noticed within this time; those of our own wake the relay.
POLL_SECONDS = 0.04
# What is to be sent again is a person's wish: it may wait longer than news.
RESEND_POLL_SECONDS = 0.5
STANDBY_SECONDS = 1.0
MEASURE_SECONDS = 2.0
RELEASE_SECONDS = 0.7
# Sending is allowed for half the lease; with this share of it left the lease is taken anew, so that
# a round has time to send and not every round writes the lease.
RENEW_SHARE = 0.4


class Relay:
    """One active per service; the others stand by and take over when the lease runs out."""

    name = "relay"

    def __init__(
        self,
        database: Database,
        *,
        bootstrap_servers: str,
        lease: Lease | None = None,
        round_rows_max: int = ROUND_ROWS_MAX,
    ) -> None:
        self._database = database
        self._sender = Sender(bootstrap_servers)
        self._lease = lease or Lease(uuid4())
        self._round_rows_max = round_rows_max
        self._wake = asyncio.Event()
        self._backoff = Backoff(first_seconds=0.1, cap_seconds=5.0)
        self._measured_at = float("-inf")
        self._resend_looked_at = float("-inf")
        # Acknowledged, and not marked yet.
        self._acknowledged: list[Sendable] = []
        # Why nothing is sent until a person mends it; readiness tells.
        self.fault: Exception | None = None

    def wake(self) -> None:
        """Something was committed: look at the outbox now."""
        self._wake.set()

    async def run(self, stopping: asyncio.Event) -> None:
        try:
            while not stopping.is_set():
                self._wake.clear()
                await self._step(stopping)
        finally:
            await self._stand_down()

    async def _step(self, stopping: asyncio.Event) -> None:
        """One round, and the pause after it."""
        try:
            if not await self._take_lease():
                # What is committed here is the active relay's work: no reason to wake up.
                await wait_for_any(stopping, timeout_seconds=STANDBY_SECONDS)
                return
            sent_count = await self._round(stopping)
        except Stopping:
            return
        except Exception as error:  # noqa: BLE001 - rows stay unsent, whatever went wrong
            await self._recover(error, stopping)
            return
        self._backoff.reset()
        self.fault = None
        if sent_count == 0:
            await wait_for_any(stopping, self._wake, timeout_seconds=POLL_SECONDS)

    async def _recover(self, error: Exception, stopping: asyncio.Event) -> None:
        """Start anew: another producer, the lease taken again, the oldest unsent row first."""
        RELAY_ERRORS.inc()
        self.fault = error if isinstance(error, WrongPartitions) else None
        log.warning("relay_failed", error=repr(error))
        # Whether the renewal was committed is not known.
        self._lease.forget()
        await self._sender.close()
        await wait_for_any(stopping, timeout_seconds=self._backoff.next())

    async def _take_lease(self) -> bool:
        if self._lease.seconds_to_send > self._lease.duration.total_seconds() * RENEW_SHARE:
            return True
        async with self._database.transaction() as unit:
            held = await self._lease.take(unit.connection)
            if not held:
                # Else a former holder would tell its last figures for ever.
                await self._measure(unit.connection)
        RELAY_LEASE_HELD.set(held)
        return held

    async def _round(self, stopping: asyncio.Event) -> int:
        """Read, send and mark; returns how many rows went out."""
        rows, again = await self._read()
        if not rows:
            return 0
        read_at = asyncio.get_running_loop().time()
        crash_points.reach("relay.before_send")
        acknowledged, error = await self._send(rows, stopping)
        crash_points.reach("relay.after_send_before_mark")
        RELAY_SENT.inc(len(acknowledged))
        if again:
            async with self._database.statements() as connection:
                await mark_sent(connection, acknowledged, again=True)
        else:
            self._acknowledged = acknowledged
            since_reading = asyncio.get_running_loop().time() - read_at
            for row in acknowledged:
                RELAY_SECONDS.observe(
                    (row.read_at - row.created_at).total_seconds() + since_reading
                )
        if error is not None:
            await self._mark_acknowledged()
            raise error
        return len(acknowledged)

    async def _mark_acknowledged(self) -> None:
        """At once, where no reading follows."""
        if not self._acknowledged:
            return
        async with self._database.statements() as connection:
            await mark_sent(connection, self._acknowledged, again=False)
        self._acknowledged = []

    async def _read(self) -> tuple[list[Sendable], bool]:
        async with self._database.statements() as connection:
            rows = await read_unsent(connection, self._round_rows_max, mark=self._acknowledged)
            self._acknowledged = []
            await self._measure(connection)
            now = asyncio.get_running_loop().time()
            if rows or now - self._resend_looked_at < RESEND_POLL_SECONDS:
                return rows, False
            again = await read_resend(connection, self._round_rows_max)
            # Where there was something there may be more: look again at once.
            self._resend_looked_at = float("-inf") if again else now
            return again, True

    async def _send(
        self, rows: Sequence[Sendable], stopping: asyncio.Event
    ) -> tuple[list[Sendable], BaseException | None]:
        """Send what fits into one batch per partition; an error comes back beside the rows."""
        try:
            await self._sender.start(stopping, timeout_seconds=self._lease.seconds_to_send)
        except (KafkaError, OSError, TimeoutError) as error:
            return [], error
        return await self._sender.send(rows, stopping, timeout_seconds=self._lease.seconds_to_send)

    async def _measure(self, connection: Connection) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._measured_at < MEASURE_SECONDS:
            return
        self._measured_at = now
        state = await measure(connection)
        OUTBOX_UNSENT.set(state.unsent_count)
        OUTBOX_OLDEST_AGE_SECONDS.set(state.oldest_age_seconds)

    async def _stand_down(self) -> None:
        await self._sender.close()
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._mark_acknowledged()
                async with self._database.transaction() as unit:
                    await self._lease.release(unit.connection)
        except Exception as error:  # noqa: BLE001 - the lease runs out by itself
            log.info("lease_not_released", error=repr(error))
        RELAY_LEASE_HELD.set(0)
