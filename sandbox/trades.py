"""Trades of the cashier channels: one per channel and order number of the merchant.

`prepared` is known to the channel's machines only, until a payer opens it; `waiting` is open for
payment; then `paid` (later `finished`: no refund any more) or `closed`.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Literal, cast

from sandbox.book import Book
from shared.kernel.clock import to_rfc3339

Channel = Literal["alipay", "wechatpay"]
Status = Literal["prepared", "waiting", "paid", "finished", "closed"]
PAID: tuple[Status, ...] = ("paid", "finished")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTrade:
    """What the merchant ordered; `passed_back` comes back to it in notifications."""

    channel: Channel
    out_trade_no: str
    method: str
    amount_fen: int
    description: str
    notify_url: str
    expires_at: datetime
    return_url: str = ""
    passed_back: str = ""
    payer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """A row of the book; times are RFC 3339 in UTC, so they compare as text."""

    seq: int
    channel: Channel
    out_trade_no: str
    method: str
    token: str
    trade_no: str
    amount_fen: int
    description: str
    notify_url: str
    return_url: str
    passed_back: str
    payer: str
    status: Status
    created_at: str
    expires_at: str
    link_expires_at: str
    pays_late_at: str | None
    paid_at: str | None
    paid_fen: int | None
    closed_at: str | None

    @property
    def is_paid(self) -> bool:
        return self.status in PAID

    def orders_the_same_as(self, new: NewTrade) -> bool:
        """Whether the channel takes it for the first request again: its payer is part of that."""
        mine = (self.method, self.amount_fen, self.description, self.notify_url, self.passed_back)
        theirs = (new.method, new.amount_fen, new.description, new.notify_url, new.passed_back)
        return (*mine, self.payer) == (*theirs, new.payer)


class Trades:
    """The book's trades; what may follow what is guarded in the statement itself."""

    def __init__(self, book: Book, *, seed: int) -> None:
        self._book = book
        self._seed = seed

    def add(self, new: NewTrade, *, status: Status, link_lives: timedelta) -> Trade:
        now = datetime.now(UTC)
        row = self._book.row(
            "INSERT INTO trade (channel, out_trade_no, method, token, trade_no, amount_fen,"
            " description, notify_url, return_url, passed_back, payer, status, created_at,"
            " expires_at, link_expires_at) VALUES (:channel, :out_trade_no, :method, :token,"
            " :trade_no, :amount_fen, :description, :notify_url, :return_url, :passed_back,"
            " :payer, :status, :created_at, :expires_at, :link_expires_at) RETURNING *",
            channel=new.channel,
            out_trade_no=new.out_trade_no,
            method=new.method,
            token=self._digest("token", new).hex()[:32],
            trade_no=f"{int.from_bytes(self._digest('trade', new), 'big') % 10**28:028d}",
            amount_fen=new.amount_fen,
            description=new.description,
            notify_url=new.notify_url,
            return_url=new.return_url,
            passed_back=new.passed_back,
            payer=new.payer,
            status=status,
            created_at=to_rfc3339(now),
            expires_at=to_rfc3339(new.expires_at),
            link_expires_at=to_rfc3339(now + link_lives),
        )
        assert row is not None
        return _trade(row)

    def find(self, channel: Channel, out_trade_no: str) -> Trade | None:
        return self._one(
            "SELECT * FROM trade WHERE channel = :channel AND out_trade_no = :out_trade_no",
            channel=channel,
            out_trade_no=out_trade_no,
        )

    def by_token(self, channel: Channel, token: str) -> Trade | None:
        """The trade of a cashier address or a prepay id."""
        return self._one(
            "SELECT * FROM trade WHERE channel = :channel AND token = :token",
            channel=channel,
            token=token,
        )

    def by_seq(self, seq: int) -> Trade | None:
        return self._one("SELECT * FROM trade WHERE seq = :seq", seq=seq)

    def open(self, trade: Trade) -> Trade:
        """A payer came to the cashier: from now on the merchant can see the trade."""
        return self._change(trade, "status = 'waiting'", only_in=("prepared",))

    def renew_link(self, trade: Trade, lives: timedelta) -> Trade:
        until = to_rfc3339(datetime.now(UTC) + lives)
        return self._change(
            trade, "link_expires_at = :until", only_in=("prepared", "waiting"), until=until
        )

    def pay(self, trade: Trade, *, paid_fen: int, late: bool = False) -> Trade:
        """`late` is the channel that took money for a trade which it had called closed."""
        return self._change(
            trade,
            "status = 'paid', paid_at = :now, paid_fen = :paid_fen, pays_late_at = NULL",
            only_in=("waiting", "closed") if late else ("waiting",),
            now=to_rfc3339(datetime.now(UTC)),
            paid_fen=paid_fen,
        )

    def finish(self, trade: Trade) -> Trade:
        return self._change(trade, "status = 'finished'", only_in=("paid",))

    def close(self, trade: Trade, *, pays_late_at: datetime | None = None) -> Trade:
        return self._change(
            trade,
            "status = 'closed', closed_at = :now, pays_late_at = :pays_late_at",
            only_in=("waiting",),
            now=to_rfc3339(datetime.now(UTC)),
            pays_late_at=to_rfc3339(pays_late_at) if pays_late_at else None,
        )

    def expired(self, *, limit: int) -> Sequence[Trade]:
        """Open trades whose time is over and that nobody closed yet."""
        return self._due("status = 'waiting' AND expires_at <= :now", limit)

    def late(self, *, limit: int) -> Sequence[Trade]:
        """Closed trades that the channel is going to be paid for now, as a fault wants it."""
        return self._due("pays_late_at <= :now", limit)

    def _due(self, condition: str, limit: int) -> Sequence[Trade]:
        rows = self._book.rows(
            f"SELECT * FROM trade WHERE {condition} ORDER BY seq LIMIT :limit",
            now=to_rfc3339(datetime.now(UTC)),
            limit=limit,
        )
        return [_trade(row) for row in rows]

    def _one(self, statement: str, **values: str | int) -> Trade | None:
        row = self._book.row(statement, **values)
        return _trade(row) if row else None

    def _change(
        self,
        trade: Trade,
        assignments: str,
        *,
        only_in: tuple[Status, ...],
        **values: str | int | None,
    ) -> Trade:
        """The trade as it is afterwards; where its status does not allow it, nothing changes."""
        states = ", ".join(f"'{status}'" for status in only_in)
        self._book.execute(
            f"UPDATE trade SET {assignments} WHERE seq = :seq AND status IN ({states})",
            seq=trade.seq,
            **values,
        )
        return self.by_seq(trade.seq) or trade

    def _digest(self, purpose: str, new: NewTrade) -> bytes:
        """Depends on the seed and the order, not on who came first."""
        text = f"{self._seed}:{purpose}:{new.channel}:{new.out_trade_no}"
        return sha256(text.encode()).digest()


def has_expired(trade: Trade) -> bool:
    return trade.expires_at <= to_rfc3339(datetime.now(UTC))


def _trade(row: sqlite3.Row) -> Trade:
    return Trade(**cast("dict[str, object]", dict(row)))  # type: ignore[arg-type]  # a row of the table
