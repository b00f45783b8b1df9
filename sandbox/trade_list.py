"""`GET /sandbox/v1/trades`: what the channels' own books say, for tests and for the checker."""

import sqlite3
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from sandbox.book import Book
from sandbox.problems import Cursor, Limit
from sandbox.trades import Channel, Status
from shared.kernel.errors import Refused

OrderNo = Annotated[str | None, Query(max_length=64)]


class SentNotification(BaseModel):
    """One send; `answer_status` is null where nobody answered, and `answer` says why."""

    sent_at: str
    lies: list[str]
    answer_status: int | None
    answer: str


class TradeNotification(BaseModel):
    """`next_at` is null where the channel has stopped, or never began."""

    notification_id: str
    event: Literal["paid", "finished", "closed"]
    sent_count: int
    next_at: str | None
    accepted_at: str | None
    sends: list[SentNotification]


class ListedTrade(BaseModel):
    """`paid_fen` is what the payer gave; a lying channel's differs from `amount_fen`."""

    channel: Channel
    method: str
    out_trade_no: str
    trade_no: str
    amount_fen: int
    status: Status
    created_at: str
    expires_at: str
    paid_at: str | None
    paid_fen: int | None
    closed_at: str | None
    cashier_url: str
    notifications: list[TradeNotification]


class TradeTotals(BaseModel):
    paid_count: int
    paid_fen: int


class ListedTrades(BaseModel):
    items: list[ListedTrade]
    next_cursor: str | None
    totals: TradeTotals


class TradeList:
    def __init__(self, book: Book, *, public_url: str) -> None:
        self._book = book
        self._public_url = public_url

    def page(
        self, channel: Channel | None, out_trade_no: str | None, *, limit: int, before: int | None
    ) -> ListedTrades:
        wanted = (
            "(:channel IS NULL OR channel = :channel)"
            " AND (:out_trade_no IS NULL OR out_trade_no = :out_trade_no)"
        )
        rows, next_cursor = self._book.page(
            f"SELECT * FROM trade WHERE {wanted}",
            channel=channel,
            out_trade_no=out_trade_no,
            limit=limit,
            before=before,
        )
        totals = self._book.row(
            "SELECT count(*) AS paid_count, coalesce(sum(paid_fen), 0) AS paid_fen FROM trade"
            f" WHERE paid_at IS NOT NULL AND {wanted}",
            channel=channel,
            out_trade_no=out_trade_no,
        )
        assert totals is not None
        return ListedTrades(
            items=[self._listed(row) for row in rows],
            next_cursor=next_cursor,
            totals=TradeTotals(**dict(totals)),
        )

    def one(self, channel: Channel, out_trade_no: str) -> ListedTrade:
        """Raises Refused where the channel has no such order."""
        found = self.page(channel, out_trade_no, limit=1, before=None).items
        if not found:
            raise Refused("trade_not_found", "The channel has no such order.", status=404)
        return found[0]

    def _listed(self, trade: sqlite3.Row) -> ListedTrade:
        notifications = self._book.rows(
            "SELECT * FROM notification WHERE trade_seq = :seq ORDER BY seq", seq=trade["seq"]
        )
        return ListedTrade(
            **{**dict(trade), "cashier_url": self._cashier_url(trade)},
            notifications=[self._notification(row) for row in notifications],
        )

    def _notification(self, row: sqlite3.Row) -> TradeNotification:
        sends = self._book.rows(
            "SELECT * FROM notification_answer WHERE notification_seq = :seq ORDER BY seq",
            seq=row["seq"],
        )
        return TradeNotification(
            **dict(row),
            next_at=row["due_at"],
            sends=[
                SentNotification(
                    sent_at=send["sent_at"],
                    lies=[lie for lie in send["lies"].split(",") if lie],
                    answer_status=send["status"],
                    answer=send["body"],
                )
                for send in sends
            ],
        )

    def _cashier_url(self, trade: sqlite3.Row) -> str:
        return f"{self._public_url}/cashier/{trade['channel']}/{trade['token']}"


def trade_routes(trades: TradeList) -> APIRouter:
    router = APIRouter(prefix="/sandbox/v1/trades", tags=["trades"])

    @router.get("")
    async def list_trades(
        channel: Channel | None = None,
        out_trade_no: OrderNo = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> ListedTrades:
        before = int(cursor) if cursor else None
        return trades.page(channel, out_trade_no, limit=limit, before=before)

    @router.get("/{channel}/{out_trade_no}")
    async def one_trade(channel: Channel, out_trade_no: str) -> ListedTrade:
        return trades.one(channel, out_trade_no)

    return router
