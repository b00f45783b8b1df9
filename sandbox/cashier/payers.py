"""What payers do at a cashier, and what time does to their trades."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

from sandbox.book import Book
from sandbox.faults.faults import Faults
from sandbox.notifications import Notifications
from sandbox.trades import Trade, Trades, has_expired
from shared.kernel.errors import Refused

TICK_SECONDS = 0.1
BATCH = 200


class Payers:
    """Opens, pays and closes trades, each in one transaction with the notification of it."""

    def __init__(
        self, book: Book, trades: Trades, notifications: Notifications, faults: Faults
    ) -> None:
        self._book = book
        self._trades = trades
        self._notifications = notifications
        self._faults = faults

    def open(self, trade: Trade) -> Trade:
        """A payer looks at the cashier page."""
        if has_expired(trade):
            return self.expire(trade)
        return self._trades.open(trade)

    def pay(self, trade: Trade) -> Trade:
        """Take the money once. Raises Refused where the payer is declined or comes too late."""
        refused: Refused | None = None
        with self._book.transaction():
            trade = self.open(trade)
            if trade.status == "waiting":
                refused = self._declined(trade)
                trade = trade if refused else self._take(trade)
        # Only now: an error inside would undo that the payer was here, and that a fault fired.
        if refused:
            raise refused
        if not trade.is_paid:
            raise Refused("trade_closed", "This trade is closed.")
        return trade

    def _declined(self, trade: Trade) -> Refused | None:
        shot = self._faults.fire("decline", trade.channel, "pay", order=trade.out_trade_no)
        return Refused(shot.reason, "The payer's account refused.") if shot else None

    async def pay_before_answering(self, trade: Trade) -> Trade:
        """Where a fault wants it, the payer is faster than our answer to the merchant."""
        order = trade.out_trade_no
        if not self._faults.fire("notify_before_answer", trade.channel, "send", order=order):
            return trade
        with contextlib.suppress(Refused):
            trade = self.pay(trade)
            await self._notifications.first_was_sent(trade)
        return trade

    async def pay_at_the_cashier(self, trade: Trade) -> Trade:
        """Raises Refused as `pay` does."""
        trade = self.pay(trade)
        order = trade.out_trade_no
        if self._faults.fire("notify_before_answer", trade.channel, "pay", order=order):
            await self._notifications.first_was_sent(trade)
        return trade

    def close(self, trade: Trade) -> Trade:
        """The merchant closes an open trade; a fault lets the money come all the same."""
        with self._book.transaction():
            order = trade.out_trade_no
            late = self._faults.fire("pay_after_close", trade.channel, "close", order=order)
            delay = timedelta(seconds=late.delay_seconds) if late else None
            at = datetime.now(UTC) + delay if delay is not None else None
            closed = self._trades.close(trade, pays_late_at=at)
            self._tell_of_closing(closed)
            return closed

    def expire(self, trade: Trade) -> Trade:
        """Time closes a trade that is still open after its end."""
        if trade.status != "waiting":
            return trade
        closed = self._trades.close(trade)
        self._tell_of_closing(closed)
        return closed

    def _take(self, trade: Trade, *, late: bool = False) -> Trade:
        order = trade.out_trade_no
        wrong = self._faults.fire("wrong_amount", trade.channel, "pay", order=order)
        paid_fen = trade.amount_fen + (1 if wrong else 0)
        paid = self._trades.pay(trade, paid_fen=paid_fen, late=late)
        self._notifications.enqueue(paid, "paid")
        return paid

    def _tell_of_closing(self, trade: Trade) -> None:
        # Alipay tells of closing what was opened by wap or app; WeChat Pay never does.
        if trade.status == "closed" and trade.channel == "alipay" and trade.method != "qr":
            self._notifications.enqueue(trade, "closed")

    async def run(self) -> None:
        """Expire what is due and let late money come, until cancelled."""
        while True:
            with self._book.transaction():
                for trade in self._trades.expired(limit=BATCH):
                    self.expire(trade)
                for trade in self._trades.late(limit=BATCH):
                    self._take(trade, late=True)
            await asyncio.sleep(TICK_SECONDS)
