"""Puts both cashier channels together: books, payers, notifications, and the addresses of each."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx2
from fastapi import APIRouter
from pydantic import BaseModel, Field

from sandbox.alipay.gateway import AlipayGateway, gateway_routes
from sandbox.alipay.notices import AlipayNotices
from sandbox.alipay.requests import Merchant as AlipayMerchant
from sandbox.book import Book
from sandbox.cashier.api import cashier_routes
from sandbox.cashier.payers import Payers
from sandbox.clients import alipay_client_routes, wechatpay_client_routes
from sandbox.faults.faults import Faults
from sandbox.notifications import ANSWER_SECONDS, Notifications, post
from sandbox.problems import Strict
from sandbox.rsa import AlipayKeys, WechatPayKeys
from sandbox.settings import SandboxSettings
from sandbox.trade_list import TradeList, trade_routes
from sandbox.trades import Trades
from sandbox.wechatpay.api import WechatPayApi, api_routes
from sandbox.wechatpay.notices import Probe, WechatPayNotices
from sandbox.wechatpay.orders import Merchant as WechatPayMerchant

log = logging.getLogger("uvicorn.error")


class NewProbe(Strict):
    kind: Probe
    notify_url: Annotated[str, Field(pattern=r"^https?://", max_length=256)]


class ProbeAnswer(BaseModel):
    """`answer_status` is null where nobody answered."""

    answer_status: int | None
    answer: str


class CashierChannels:
    """Alipay and WeChat Pay over one book."""

    def __init__(
        self,
        settings: SandboxSettings,
        *,
        book: Book,
        faults: Faults,
        alipay_keys: AlipayKeys,
        wechatpay_keys: WechatPayKeys,
    ) -> None:
        self._settings = settings
        self._trades = Trades(book, seed=settings.seed)
        self.notifications = Notifications(
            book,
            self._trades,
            faults,
            seed=settings.seed,
            time_factor=settings.time_factor,
        )
        self._payers = Payers(book, self._trades, self.notifications, faults)
        self._list = TradeList(book, public_url=settings.browser_url)
        self._faults = faults
        self._alipay_keys = alipay_keys
        self._wechatpay_keys = wechatpay_keys
        self._tasks: list[asyncio.Task[None]] = []

    def routers(self) -> list[APIRouter]:
        return [*self._alipay(), *self._wechatpay(), trade_routes(self._list)]

    def _alipay(self) -> list[APIRouter]:
        merchant = AlipayMerchant(self._settings.alipay_app_id, self._settings.alipay_seller_id)
        gateway = AlipayGateway(
            trades=self._trades,
            payers=self._payers,
            faults=self._faults,
            keys=self._alipay_keys,
            merchant=merchant,
            public_url=self._settings.browser_url,
        )
        self.notifications.let_speak("alipay", AlipayNotices(self._alipay_keys, merchant))
        pages = cashier_routes(
            "alipay",
            trades=self._trades,
            payers=self._payers,
            back_url=lambda trade, _: gateway.return_url(trade) if trade.return_url else "",
        )
        return [gateway_routes(gateway), alipay_client_routes(gateway), pages]

    def _wechatpay(self) -> list[APIRouter]:
        settings = self._settings
        merchant = WechatPayMerchant(settings.wechatpay_app_id, settings.wechatpay_merchant_id)
        api = WechatPayApi(
            trades=self._trades,
            payers=self._payers,
            faults=self._faults,
            keys=self._wechatpay_keys,
            merchant=merchant,
            public_url=settings.browser_url,
        )
        notices = WechatPayNotices(self._wechatpay_keys, merchant, seed=settings.seed)
        self.notifications.let_speak("wechatpay", notices)
        pages = cashier_routes(
            "wechatpay",
            trades=self._trades,
            payers=self._payers,
            back_url=lambda _, asked_back: asked_back,
        )
        client = wechatpay_client_routes(api, self._wechatpay_keys, merchant)
        return [api_routes(api), client, pages, _probe_routes(notices)]

    @property
    def is_running(self) -> bool:
        """False once notifications or time have stopped: they never should."""
        return not any(task.done() for task in self._tasks)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Time passes and notifications go out, until the end of the block."""
        tasks = self._tasks = [
            asyncio.create_task(self.notifications.run()),
            asyncio.create_task(self._payers.run()),
        ]
        for task in tasks:
            task.add_done_callback(_tell)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("a task of the sandbox broke", exc_info=error)


def _probe_routes(notices: WechatPayNotices) -> APIRouter:
    router = APIRouter(prefix="/sandbox/v1/probes", tags=["probes"])

    @router.post("")
    async def probe(new: NewProbe) -> ProbeAnswer:
        async with httpx2.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False) as client:
            status, body = await post(client, new.notify_url, notices.probe(new.kind))
        return ProbeAnswer(answer_status=status, answer=body.decode(errors="replace"))

    return router
