"""Opens attempts, signs a callback for each, and sends them at a rate, in a process of its own.

`python -m bench.callback.generator …` says `signed`, starts at a line on its standard input, and
writes what it was answered to `--history`.
"""

import argparse
import asyncio
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
import uvloop

from bench.callback.letters import Letters
from bench.callback.prefill import OpenAttempt, open_attempts
from bench.callback.sender import OpenLoop, Sent
from shared.runtime.database.database import open_database


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One callback: what it said, when it was due, and how it was answered.

    `is_acknowledged`: with exactly what the channel takes for success.
    """

    attempt_id: UUID
    order_id: UUID
    channel: str
    amount_fen: int
    due_at: datetime
    answered_at: datetime | None
    is_acknowledged: bool


class CallbackHistory(msgspec.Struct, frozen=True, kw_only=True):
    """What the channels were told. `cpu_seconds` are of sending alone, without signing."""

    told: list[Told]
    began_at: datetime
    late_seconds_max: float
    cpu_seconds: float


async def prepare(
    database_url: str, letters: Letters, count: int
) -> tuple[list[OpenAttempt], list[bytes]]:
    """Attempts in the database, and a signed request for each."""
    database = open_database(
        database_url.replace("postgresql://", "postgresql+asyncpg://", 1),
        source="payment",
        pool_size=1,
    )
    try:
        opened = await open_attempts(database, count, now=datetime.now(UTC))
    finally:
        await database.close()
    return opened, [letters.request(attempt) for attempt in opened]


async def send(
    url: str, opened: list[OpenAttempt], requests: list[bytes], letters: Letters, *, rate: float
) -> CallbackHistory:
    """Send the requests at the rate, and wait for their answers."""
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    used = time.process_time()
    sent = await OpenLoop(address.hostname, address.port, requests, rate).run()
    used = time.process_time() - used
    told = [_told(place, one, sent, letters, rate=rate) for place, one in enumerate(opened)]
    return CallbackHistory(
        told=told,
        began_at=sent.began_at,
        late_seconds_max=sent.late_seconds_max,
        cpu_seconds=used,
    )


def _told(place: int, attempt: OpenAttempt, sent: Sent, letters: Letters, *, rate: float) -> Told:
    seconds = sent.answered_at[place]
    return Told(
        attempt_id=attempt.attempt_id,
        order_id=attempt.order_id,
        channel=attempt.channel,
        amount_fen=attempt.amount_fen,
        due_at=sent.began_at + timedelta(seconds=place / rate),
        answered_at=None if seconds is None else sent.began_at + timedelta(seconds=seconds),
        is_acknowledged=letters.accepts(attempt.channel, sent.statuses[place], sent.bodies[place]),
    )


def read_history(file: Path) -> CallbackHistory:
    """What `--history` wrote."""
    return msgspec.json.decode(file.read_bytes(), type=CallbackHistory)


async def _main(options: argparse.Namespace) -> None:
    letters = Letters(options.keys, host=urlsplit(options.url).netloc)
    count = round(options.rate * options.seconds)
    opened, requests = await prepare(options.database_url, letters, count)
    sys.stdout.write("signed\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    history = await send(options.url, opened, requests, letters, rate=options.rate)
    options.history.write_bytes(msgspec.json.encode(history))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.callback.generator", description=__doc__)
    parser.add_argument("--database-url", required=True, help="payment's database")
    parser.add_argument("--url", required=True, help="payment's API")
    parser.add_argument("--keys", type=Path, required=True, help="the channels' half of the keys")
    parser.add_argument("--rate", type=float, required=True, help="callbacks per second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--history", type=Path, required=True)
    uvloop.run(_main(parser.parse_args()))
