"""The log and the positions in it are damaged: replayed, skipped, cut off. What heals by itself
does so first; then the operator sends the range again, and everything is judged."""

import struct
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from testing.checker import check_unchanged, until_at_rest
from testing.checker.log_reader import log_bounds
from testing.checker.rest import behind, under_way
from testing.checker.world_reader import CONSUMERS
from testing.state_hash import state_hashes
from tests.crash.run import DEADLINE_SECONDS, Field, Scenario, Void

SKIPPED_EVENTS = 500
# So long the workers are away: what is requested meanwhile is what gets cut off.
AWAY_SECONDS = 6.0
WAITING_SECONDS = 60.0
WORKERS = ("billing-worker", "payment-worker", "notifier-worker")
REPLAY_SECONDS = 120.0
CUT_TOPIC = "billing.contributions"
CUT_BATCHES = 4
# What Kafka makes anew from the log itself.
DERIVED = (".index", ".timeindex", ".snapshot", ".txnindex")
BATCH_HEAD = struct.Struct(">qi")


def replay_everything(field: Field) -> None:
    """At rest: reset every stored position by the supported command; nothing may change."""
    stack = field.stack
    before = state_hashes(stack.databases)
    books = stack.books()
    for service in CONSUMERS:
        _operate(field, service, "positions", "reset", "--yes")
    began = time.monotonic()
    until_at_rest(stack.databases, stack.kafka, within_seconds=REPLAY_SECONDS)
    field.notes.append(f"everything read again in {time.monotonic() - began:.1f} s")
    field.violations += check_unchanged(before, state_hashes(stack.databases))
    if (books.charges, books.sms) != (stack.books().charges, stack.books().sms):
        raise Void("the replay charged or sent something")


def skip_events(field: Field) -> None:
    """One after the other is away while the others tell; then it goes on 500 events further."""
    stack = field.stack
    for name in ("notifier-worker", "payment-worker"):
        stack.stop(name)
    # Twice as much again as is skipped, so that payment still has something to tell billing.
    _until_waiting(field, "payment", 3 * SKIPPED_EVENTS)
    stack.stop("billing-worker")
    _skip(field, "payment")
    stack.start("payment-worker")
    _until_waiting(field, "billing", SKIPPED_EVENTS + SKIPPED_EVENTS // 2)
    stack.stop("payment-worker")
    _skip(field, "billing")
    _skip(field, "notifier")
    for name in WORKERS:
        stack.launch(name)
    _wait_until_ready(field)


def cut_tail(field: Field) -> None:
    """Payment and notifier are away; the broker stops and loses the end of every partition."""
    stack = field.stack
    for name in ("payment-worker", "notifier-worker"):
        stack.stop(name)
    time.sleep(AWAY_SECONDS)
    _until_sent(field, "billing")
    before = _end_of(field, CUT_TOPIC)
    stack.stack.stop("kafka")
    data = stack.stack.state_dir / "kafka" / "data"
    folders = sorted(data.glob(f"{CUT_TOPIC}-*"))
    for folder in folders:
        cut_last_batches(folder, CUT_BATCHES)
    (data / ".kafka_cleanshutdown").unlink(missing_ok=True)
    stack.stack.start("kafka")
    lost = before - _end_of(field, CUT_TOPIC)
    if lost <= 0:
        raise Void("nothing was cut off")
    field.notes.append(f"{lost} events cut off")
    field.cut_topics.add(CUT_TOPIC)
    for name in ("payment-worker", "notifier-worker"):
        stack.launch(name)
    _wait_until_ready(field)


def cut_last_batches(folder: Path, count: int) -> None:
    """Shorten the newest segment by whole batches, and remove what is derived from it."""
    segment = max(folder.glob("*.log"))
    content = segment.read_bytes()
    starts, at = [], 0
    while at + BATCH_HEAD.size <= len(content):
        _, length = BATCH_HEAD.unpack_from(content, at)
        if length <= 0:
            break
        starts.append(at)
        at += BATCH_HEAD.size + length
    if starts:
        keep = starts[max(0, len(starts) - count)]
        with segment.open("r+b") as file:
            file.truncate(keep)
    for derived in folder.iterdir():
        if derived.suffix in DERIVED:
            derived.unlink()


def heal_then_resend(field: Field) -> None:
    """First the orders become terminal by themselves, then the events of the hour are resent."""
    stack = field.stack
    began, moving = time.monotonic(), dict[str, int]()
    while time.monotonic() - began < DEADLINE_SECONDS:
        moving = {what: n for what, n in under_way(stack.databases).items() if "open" in what}
        if not moving:
            break
        time.sleep(0.5)
    if moving:
        raise Void(f"orders did not become terminal by themselves: {moving}")
    field.notes.append(f"all orders terminal by themselves {time.monotonic() - began:.1f} s later")
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    for service in ("billing", "payment"):
        field.notes.append(_operate(field, service, "events", "resend", "--since", since))
    until_at_rest(stack.databases, stack.kafka, within_seconds=REPLAY_SECONDS)


def _operate(field: Field, service: str, *command: str) -> str:
    done = field.stack.stack.run(service, *command)
    if done.returncode != 0:
        raise Void(f"{service} {' '.join(command)}: {done.stderr.strip()[-300:]}")
    return f"{service}: {done.stdout.strip().splitlines()[-1]}"


def _wait_until_ready(field: Field) -> None:
    for name in WORKERS:
        field.stack.wait_until_ready(name)


def _end_of(field: Field, topic: str) -> int:
    """Records that were ever written to it; a broker that just started does not know at once."""
    deadline = time.monotonic() + WAITING_SECONDS
    while True:
        try:
            return sum(end for _, end in log_bounds(field.stack.kafka, topic).values())
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _until_waiting(field: Field, service: str, count: int) -> None:
    """So many records lie before a consumer that is away. Raises Void at the deadline."""
    deadline = time.monotonic() + WAITING_SECONDS
    while time.monotonic() < deadline:
        waiting = behind(field.stack.databases, field.stack.kafka)
        if sum(n for what, n in waiting.items() if what.startswith(f"{service}:")) >= count:
            return
        time.sleep(0.1)
    raise Void(f"{service} had less than {count} events before it")


def _until_sent(field: Field, service: str) -> None:
    """The backlog is gone; the load itself goes on all the while."""
    deadline = time.monotonic() + 20
    query = "SELECT count(*) FROM outbox_queue WHERE created_at < now() - '1 s'"
    while time.monotonic() < deadline:
        with psycopg.connect(field.stack.databases[service]) as connection:
            row = connection.execute(query + "::interval").fetchone()
        if row == (0,):
            return
        time.sleep(0.1)
    raise Void(f"{service} did not send its events in time")


def _ends(field: Field, topics: tuple[str, ...]) -> dict[tuple[str, int], int]:
    return {
        (topic, number): end
        for topic in topics
        for number, (_, end) in log_bounds(field.stack.kafka, topic).items()
    }


def _skip(field: Field, consumer: str) -> None:
    """Move the positions forward, spread over the partitions. Raises Void for too few events."""
    ends = _ends(field, CONSUMERS[consumer])
    skipped = 0
    with psycopg.connect(field.stack.databases[consumer]) as connection:
        rows = connection.execute(
            "SELECT topic, partition, next_offset FROM position WHERE consumer = %s", (consumer,)
        ).fetchall()
        # Some partitions hold less than their share.
        share = -(-SKIPPED_EVENTS * 3 // (2 * len(rows)))
        for topic, partition, offset in rows:
            further = min(offset + share, ends[topic, partition])
            skipped += further - offset
            connection.execute(
                "UPDATE position SET next_offset = %s"
                " WHERE consumer = %s AND topic = %s AND partition = %s",
                (further, consumer, topic, partition),
            )
    field.notes.append(f"{consumer} skips {skipped} events")
    if skipped < SKIPPED_EVENTS:
        raise Void(f"{consumer} had only {skipped} events to skip")


def _no_fault(field: Field) -> None:
    return None


LOG_SCENARIOS = [
    Scenario(
        name="full-replay",
        what="every stored position is reset by `positions reset`; nothing changes",
        fault=_no_fault,
        after=replay_everything,
        seconds=20.0,
    ),
    Scenario(
        name="positions-skipped",
        what="the positions of every consumer move forward by 500 events and more",
        fault=skip_events,
        after=heal_then_resend,
        seconds=35.0,
        is_alone=True,
    ),
    Scenario(
        name="tail-cut-off",
        what="the broker loses the last batches of every partition of billing's topic",
        fault=cut_tail,
        after=heal_then_resend,
        seconds=35.0,
        is_alone=True,
    ),
]
