"""The cashier pages of Alipay and WeChat Pay; a script can press the same buttons as a person."""

from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from sandbox.cashier.page import Cashier, Notice, cashier_page, error_page
from sandbox.cashier.payers import Payers
from sandbox.trades import Channel, Trade, Trades
from shared.kernel.clock import to_rfc3339
from shared.kernel.errors import Refused

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; "
    "style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
}
SEE_OTHER = 303


def cashier_routes(
    channel: Channel,
    *,
    trades: Trades,
    payers: Payers,
    back_url: Callable[[Trade, str], str],
) -> APIRouter:
    """`back_url` makes of a trade and of what the link says the address to go back to."""
    router = APIRouter(prefix=f"/cashier/{channel}", include_in_schema=False)
    pages = _Pages(channel, trades, payers, back_url)

    @router.get("/{token}")
    async def look(token: str, request: Request) -> Response:
        return pages.look(token, request)

    @router.post("/{token}/pay")
    async def pay(token: str, request: Request) -> Response:
        return await pages.pay(token, request)

    @router.post("/{token}/cancel")
    async def cancel(token: str, request: Request) -> Response:
        return pages.cancel(token, request)

    return router


class _Pages:
    def __init__(
        self,
        channel: Channel,
        trades: Trades,
        payers: Payers,
        back_url: Callable[[Trade, str], str],
    ) -> None:
        self._channel = channel
        self._trades = trades
        self._payers = payers
        self._back_url = back_url

    def look(self, token: str, request: Request) -> Response:
        trade = self._trades.by_token(self._channel, token)
        if trade is None:
            return _unknown()
        return self._page(self._payers.open(trade), request, _stale(trade))

    async def pay(self, token: str, request: Request) -> Response:
        """303 to the page that says "paid"; 409 and the page where nothing was taken."""
        trade = self._trades.by_token(self._channel, token)
        if trade is None:
            return _unknown()
        if stale := _stale(trade):
            return self._page(trade, request, stale, status=409)
        try:
            await self._payers.pay_at_the_cashier(trade)
        except Refused as refused:
            trade = self._trades.by_seq(trade.seq) or trade
            notice: Notice = "" if refused.code == "trade_closed" else "declined"
            return self._page(trade, request, notice, status=409)
        path, query = request.url.path.removesuffix("/pay"), request.url.query
        return RedirectResponse(f"{path}?{query}" if query else path, SEE_OTHER, HEADERS)

    def cancel(self, token: str, request: Request) -> Response:
        """Nothing happens to the trade: the payer only says so."""
        trade = self._trades.by_token(self._channel, token)
        return self._page(trade, request, "cancelled") if trade else _unknown()

    def _page(
        self, trade: Trade, request: Request, notice: Notice, *, status: int = 200
    ) -> Response:
        """The buttons keep the query: WeChat Pay's way back stands in it."""
        asked_back = request.query_params.get("redirect_url", "")
        query = f"?redirect_url={quote(asked_back, safe='')}" if asked_back else ""
        page = cashier_page(
            Cashier(
                trade=trade,
                path=f"/cashier/{self._channel}/{trade.token}",
                query=query,
                back_url=_web_address(self._back_url(trade, asked_back)),
                notice=notice,
            )
        )
        return HTMLResponse(page, status, HEADERS)


def _stale(trade: Trade) -> Notice:
    """WeChat Pay's links live for minutes while the trade behind them lives for hours."""
    is_over = trade.link_expires_at <= to_rfc3339(datetime.now(UTC))
    return "stale_link" if is_over and not trade.is_paid else ""


def _web_address(url: str) -> str:
    return url if urlsplit(url).scheme in ("http", "https") else ""


def _unknown() -> Response:
    return HTMLResponse(error_page("没有这笔订单。"), 404, HEADERS)
