"""`/gateway.do`: one address for all methods; answers are signed, also those that say no."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from sandbox.alipay.notices import BUYER_ID, BUYER_LOGON_ID, yuan
from sandbox.alipay.requests import (
    METHODS,
    Merchant,
    Parameters,
    Rejected,
    check,
    content,
    failed,
    invalid,
    missing,
    new_trade,
    out_trade_no,
    read_parameters,
    shanghai_text,
)
from sandbox.alipay.signing import signed_answer, signed_notification
from sandbox.cashier.page import error_page
from sandbox.cashier.payers import Payers
from sandbox.faults.faults import Faults
from sandbox.faults.hostile import distorted
from sandbox.faults.kinds import Call
from sandbox.rsa import AlipayKeys
from sandbox.trades import NewTrade, Status, Trade, Trades, has_expired

OK = {"code": "10000", "msg": "Success"}
STATES: Mapping[Status, str] = {
    "waiting": "WAIT_BUYER_PAY",
    "paid": "TRADE_SUCCESS",
    "finished": "TRADE_FINISHED",
    "closed": "TRADE_CLOSED",
}
CALLS: Mapping[str, Call] = {"alipay.trade.query": "query", "alipay.trade.close": "close"}
# Cashier addresses live as long as the order: Alipay names no other time.
LINK_LIVES = timedelta(days=15)
Answer = dict[str, str]


class AlipayGateway:
    """Carries out what a signed request asks for."""

    def __init__(
        self,
        *,
        trades: Trades,
        payers: Payers,
        faults: Faults,
        keys: AlipayKeys,
        merchant: Merchant,
        public_url: str,
    ) -> None:
        self._trades = trades
        self._payers = payers
        self._faults = faults
        self._keys = keys
        self._merchant = merchant
        self._public_url = public_url

    async def handle(self, request: Request) -> Response:
        """The answer to one call of the gateway."""
        root, method = "error_response", ""
        try:
            parameters = read_parameters(request.scope["query_string"], await _form(request))
            method = parameters.get("method", "")
            if not method:
                raise missing("isv.missing-method", "method")
            if method not in METHODS:
                raise invalid("isv.invalid-method", "不存在的方法名")
            root = f"{method.replace('.', '_')}_response"
            check(parameters, self._keys, self._merchant)
            return await self._carry_out(request, root, parameters)
        except Rejected as rejected:
            if METHODS.get(method, ("",))[0] in ("wap", "app"):
                return HTMLResponse(error_page(rejected.body["sub_msg"]), status_code=400)
            return self._signed(root, _json(rejected.body))

    async def _carry_out(self, request: Request, root: str, parameters: Parameters) -> Response:
        method = parameters["method"]
        business = content(parameters)
        call, order = CALLS.get(method, "send"), out_trade_no(business)
        await self._faults.before(request, "alipay", call, order=order)
        try:
            if METHODS[method][0] in ("wap", "app"):
                trade = self.prepare(new_trade(parameters, business))
                await self._faults.after(request, "alipay", call, order=order)
                return RedirectResponse(self.cashier_url(trade), status_code=302)
            body = _json(await self._answer(method, order, parameters, business))
        except Rejected as rejected:
            if METHODS[method][0] == "wap":
                raise
            body = _json(rejected.body)
        await self._faults.after(request, "alipay", call, order=order)
        false = distorted(self._faults, "alipay", call, body, order=order)
        return self._signed(root, body if false is None else false)

    async def _answer(
        self, method: str, order: str, parameters: Parameters, business: Mapping[str, object]
    ) -> Answer:
        if method == "alipay.trade.query":
            return self._query(order)
        if method == "alipay.trade.close":
            return self._close(order)
        trade = self.prepare(new_trade(parameters, business))
        if trade.is_paid:
            raise failed("ACQ.TRADE_HAS_SUCCESS", "交易已被支付")
        if trade.status == "closed":
            raise failed("ACQ.TRADE_HAS_CLOSE", "交易已经关闭")
        await self._payers.pay_before_answering(trade)
        return OK | {"out_trade_no": order, "qr_code": self.cashier_url(trade)}

    def prepare(self, new: NewTrade) -> Trade:
        """The trade of this order, the same one each time. Raises Rejected for another content."""
        trade = self._trades.find("alipay", new.out_trade_no)
        if trade is None:
            return self._trades.add(new, status="prepared", link_lives=LINK_LIVES)
        if not trade.orders_the_same_as(new):
            raise failed("ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改")
        return trade

    def _query(self, order: str) -> Answer:
        trade = self._existing(order)
        fen = trade.paid_fen or trade.amount_fen
        found = OK | {
            "trade_no": trade.trade_no,
            "out_trade_no": order,
            "buyer_logon_id": BUYER_LOGON_ID,
            "buyer_user_id": BUYER_ID,
            "trade_status": STATES[trade.status],
            "total_amount": yuan(fen),
        }
        if trade.paid_at and trade.is_paid:
            found |= {name: yuan(fen) for name in ("receipt_amount", "buyer_pay_amount")}
            found["send_pay_date"] = shanghai_text(datetime.fromisoformat(trade.paid_at))
        return found

    def _close(self, order: str) -> Answer:
        trade = self._existing(order)
        if trade.status != "waiting":
            raise failed("ACQ.REASON_TRADE_STATUS_INVALID", "交易状态不合法")
        trade = self._payers.close(trade)
        return OK | {"trade_no": trade.trade_no, "out_trade_no": order}

    def _existing(self, order: str) -> Trade:
        """A trade that nobody opened in the cashier does not exist for the merchant."""
        trade = self._trades.find("alipay", order)
        if trade is None or trade.status == "prepared":
            raise failed("ACQ.TRADE_NOT_EXIST", "交易不存在")
        return self._payers.expire(trade) if has_expired(trade) else trade

    def order_of(self, order_string: bytes) -> Trade:
        """What the app opens: the trade of a signed string. Raises Rejected."""
        parameters = read_parameters(order_string, b"")
        check(parameters, self._keys, self._merchant)
        if parameters.get("method") != "alipay.trade.app.pay":
            raise invalid("isv.invalid-method", "不存在的方法名")
        return self.prepare(new_trade(parameters, content(parameters)))

    def cashier_url(self, trade: Trade) -> str:
        return f"{self._public_url}/cashier/alipay/{trade.token}"

    def return_url(self, trade: Trade) -> str:
        """Where the payer goes back to, with the signed parameters that prove nothing."""
        parameters = {
            "charset": "utf-8",
            "out_trade_no": trade.out_trade_no,
            "method": "alipay.trade.wap.pay.return",
            "total_amount": yuan(trade.amount_fen),
            "trade_no": trade.trade_no,
            "auth_app_id": self._merchant.app_id,
            "version": "1.0",
            "app_id": self._merchant.app_id,
            "seller_id": self._merchant.seller_id,
            "timestamp": shanghai_text(datetime.now(UTC)),
        }
        query = urlencode(signed_notification(parameters, self._keys.platform))
        return f"{trade.return_url}{'&' if '?' in trade.return_url else '?'}{query}"

    def _signed(self, root: str, body: str) -> Response:
        text = signed_answer(root, body, self._keys.platform)
        return Response(text, media_type="text/html;charset=utf-8")


async def _form(request: Request) -> bytes:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    form = "application/x-www-form-urlencoded"
    return await request.body() if request.method == "POST" and media_type == form else b""


def _json(answer: Mapping[str, str]) -> str:
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":"))


def gateway_routes(gateway: AlipayGateway) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/gateway.do")
    @router.post("/gateway.do")
    async def call(request: Request) -> Response:
        return await gateway.handle(request)

    return router
