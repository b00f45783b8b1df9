"""Channel notifications: sent at once and again on the channel's own schedule until accepted.

What is due stands in the book, so a restart forgets none. Faults make them lie, come in number,
late, or never.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Literal, Protocol

import httpx2

from sandbox.book import Book
from sandbox.faults.faults import Faults
from sandbox.faults.kinds import Kind
from sandbox.trades import Channel, Trade, Trades
from shared.kernel.clock import to_rfc3339

Event = Literal["paid", "finished", "closed"]
LIES: tuple[Kind, ...] = ("forged_signature", "stale_timestamp", "wrong_amount", "other_merchant")

# WeChat Pay gives an answer five seconds; what it says of others is not known to be shorter.
ANSWER_SECONDS = 5.0
# Enough to keep two replicas of payment busy, few enough for one small process.
CONCURRENT_SENDS = 64
LOOK_SECONDS = 0.2
ANSWER_BYTES_KEPT = 300


@dataclass(frozen=True, slots=True)
class Letter:
    """What goes over the wire."""

    headers: Mapping[str, str]
    body: bytes


class Speaker(Protocol):
    """How one channel notifies: its words, its patience, and what it takes for an acceptance."""

    @property
    def retries(self) -> Sequence[timedelta]: ...

    def letter(
        self, trade: Trade, event: Event, notification_id: str, *, sent_count: int, lies: set[Kind]
    ) -> Letter: ...

    def accepts(self, status: int, body: bytes) -> bool: ...


class Notifications:
    """The queue in the book and the task that sends what is due."""

    def __init__(
        self, book: Book, trades: Trades, faults: Faults, *, seed: int, time_factor: float
    ) -> None:
        self._book = book
        self._trades = trades
        self._faults = faults
        self._seed = seed
        self._time_factor = time_factor
        self._speakers: dict[Channel, Speaker] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._answered = asyncio.Event()

    def let_speak(self, channel: Channel, speaker: Speaker) -> None:
        self._speakers[channel] = speaker

    def enqueue(self, trade: Trade, event: Event) -> None:
        """Put a notification into the queue; the caller's transaction decides whether it counts."""
        order, channel = trade.out_trade_no, trade.channel
        never = self._faults.fire("never_notify", channel, "notify", order=order)
        times = self._faults.fire("notify_times", channel, "notify", order=order)
        due = datetime.now(UTC)
        if event == "paid" and (late := self._late(trade)):
            due += late
        text = f"{self._seed}:notification:{channel}:{order}:{event}"
        self._book.execute(
            "INSERT INTO notification (notification_id, trade_seq, event, copies, due_at)"
            " VALUES (:id, :trade_seq, :event, :copies, :due_at) ON CONFLICT DO NOTHING",
            id=sha256(text.encode()).hexdigest()[:32],
            trade_seq=trade.seq,
            event=event,
            copies=times.times if times else 1,
            due_at=None if never else to_rfc3339(due),
        )
        self._wake.set()

    def _late(self, trade: Trade) -> timedelta | None:
        """News of the payment after younger news: Alipay's "finished", or a query's answer."""
        shot = self._faults.fire("out_of_order", trade.channel, "notify", order=trade.out_trade_no)
        if shot is None:
            return None
        if trade.channel == "alipay":
            self.enqueue(self._trades.finish(trade), "finished")
        return timedelta(seconds=shot.delay_seconds)

    async def first_was_sent(self, trade: Trade) -> None:
        """Wait until the merchant has answered, or not, the first notification of this trade."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS + 1):
                while self._is_to_be_sent(trade) or self._is_being_sent(trade):
                    self._answered.clear()
                    await self._answered.wait()

    def _is_to_be_sent(self, trade: Trade) -> bool:
        statement = (
            "SELECT 1 FROM notification"
            " WHERE trade_seq = :seq AND sent_count = 0 AND due_at IS NOT NULL"
        )
        return self._book.row(statement, seq=trade.seq) is not None

    def _is_being_sent(self, trade: Trade) -> bool:
        statement = (
            "SELECT 1 FROM notification WHERE trade_seq = :seq AND sent_count > 0 AND NOT EXISTS"
            " (SELECT 1 FROM notification_answer WHERE notification_seq = notification.seq)"
        )
        return self._book.row(statement, seq=trade.seq) is not None

    async def run(self) -> None:
        """Send what is due until cancelled."""
        async with httpx2.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False) as client:
            try:
                while True:
                    self._wake.clear()
                    for row in self._claim():
                        self._start(client, row)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), LOOK_SECONDS)
            finally:
                await self.forget()

    async def forget(self) -> None:
        """Stop all that is under way: at reset and at shutdown."""
        tasks = list(self._sending)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _claim(self) -> list[sqlite3.Row]:
        """What is due now; its next time is written before it is sent, so a crash repeats it."""
        now = datetime.now(UTC)
        with self._book.transaction():
            due = self._book.rows(
                "SELECT * FROM notification WHERE due_at <= :now ORDER BY due_at, seq LIMIT :limit",
                now=to_rfc3339(now),
                limit=max(0, CONCURRENT_SENDS - len(self._sending)),
            )
            for row in due:
                trade = self._trades.by_seq(row["trade_seq"])
                retries = self._speakers[trade.channel].retries if trade else ()
                more = row["sent_count"] < len(retries)
                again = now + retries[row["sent_count"]] / self._time_factor if more else None
                self._book.execute(
                    "UPDATE notification SET sent_count = sent_count + 1, due_at = :again"
                    " WHERE seq = :seq",
                    seq=row["seq"],
                    again=to_rfc3339(again) if again else None,
                )
        return due

    def _start(self, client: httpx2.AsyncClient, row: sqlite3.Row) -> None:
        for _ in range(row["copies"]):
            task = asyncio.create_task(self._send(client, row))
            self._sending.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        # There is room for the next one that is due.
        self._wake.set()

    async def _send(self, client: httpx2.AsyncClient, row: sqlite3.Row) -> None:
        trade = self._trades.by_seq(row["trade_seq"])
        if trade is None:
            return
        lies = {kind for kind in LIES if self._fires(kind, trade)}
        speaker = self._speakers[trade.channel]
        letter = speaker.letter(
            trade,
            row["event"],
            row["notification_id"],
            sent_count=row["sent_count"],
            lies=lies,
        )
        sent_at = to_rfc3339(datetime.now(UTC))
        status, body = await post(client, trade.notify_url, letter)
        accepted = status is not None and speaker.accepts(status, body)
        self._note(row["seq"], sent_at, lies, status, body, accepted=accepted)

    def _fires(self, kind: Kind, trade: Trade) -> bool:
        order = trade.out_trade_no
        return self._faults.fire(kind, trade.channel, "notify", order=order) is not None

    def _note(
        self,
        seq: int,
        sent_at: str,
        lies: set[Kind],
        status: int | None,
        body: bytes,
        *,
        accepted: bool,
    ) -> None:
        with self._book.transaction():
            self._book.execute(
                "INSERT INTO notification_answer (notification_seq, sent_at, lies, status, body)"
                " VALUES (:seq, :sent_at, :lies, :status, :body)",
                seq=seq,
                sent_at=sent_at,
                lies=",".join(sorted(lies)),
                status=status,
                body=body[:ANSWER_BYTES_KEPT].decode(errors="replace"),
            )
            if accepted:
                self._book.execute(
                    "UPDATE notification SET due_at = NULL,"
                    " accepted_at = coalesce(accepted_at, :now) WHERE seq = :seq",
                    seq=seq,
                    now=to_rfc3339(datetime.now(UTC)),
                )
        self._answered.set()


async def post(client: httpx2.AsyncClient, url: str, letter: Letter) -> tuple[int | None, bytes]:
    """The status and the beginning of the body; None and the reason where nothing came back."""
    try:
        async with client.stream(
            "POST", url, content=letter.body, headers=dict(letter.headers)
        ) as answer:
            body = b""
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > ANSWER_BYTES_KEPT:
                    break
            return answer.status_code, body
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return None, type(error).__name__.encode()
