"""`/v3/…`: orders, query, close and certificates; every answer is signed, errors too."""

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, timedelta

from cryptography import x509
from fastapi import APIRouter, Request, Response

from sandbox.cashier.payers import Payers
from sandbox.faults.faults import Faults
from sandbox.faults.hostile import distorted
from sandbox.faults.kinds import Call
from sandbox.json_object import parse_object
from sandbox.rsa import WechatPayKeys
from sandbox.trades import NewTrade, Trade, Trades, has_expired
from sandbox.wechatpay.orders import (
    METHODS,
    PREPAY_LIVES,
    ApiError,
    Merchant,
    new_trade,
    view,
    wrong,
)
from sandbox.wechatpay.signing import (
    authorization_of,
    encrypted,
    is_request_signed,
    signed_headers,
)

# A link for phone browsers; asked again with the same parameters, the API makes a new one.
H5_LINK_LIVES = timedelta(minutes=5)
PREFIX = "wx"
Answer = Mapping[str, object]


class WechatPayApi:
    """Carries out what a signed request asks for; answers are built by the routes."""

    def __init__(
        self,
        *,
        trades: Trades,
        payers: Payers,
        faults: Faults,
        keys: WechatPayKeys,
        merchant: Merchant,
        public_url: str,
    ) -> None:
        self._trades = trades
        self._payers = payers
        self._faults = faults
        self._keys = keys
        self._merchant = merchant
        self._public_url = public_url

    async def answer(
        self, request: Request, work: Callable[[str], Awaitable[tuple[str, Call, Answer | None]]]
    ) -> Response:
        """Verify, work, sign. `work` gets the body and returns order, call and answer."""
        try:
            body = await self._verified(request)
            order, call, found = await work(body)
            await self._faults.after(request, "wechatpay", call, order=order or None)
        except ApiError as error:
            said = json.dumps({"code": error.code, "message": error.message}, ensure_ascii=False)
            return self._signed(request, error.status, said)
        text = "" if found is None else json.dumps(found, ensure_ascii=False)
        false = distorted(self._faults, "wechatpay", call, text, order=order)
        if false is not None:
            return self._signed(request, 200, false)
        return self._signed(request, 200 if text else 204, text)

    async def _verified(self, request: Request) -> str:
        """The body, signed by the merchant. Raises ApiError."""
        try:
            body = (await request.body()).decode()
        except UnicodeDecodeError:
            raise wrong("body") from None
        path = request.scope["raw_path"].decode("ascii", errors="replace")
        if query := request.scope["query_string"].decode("ascii", errors="replace"):
            path = f"{path}?{query}"
        parts = authorization_of(request.headers.get("authorization", ""))
        if parts is None or parts["mchid"] != self._merchant.merchant_id:
            raise ApiError(401, "SIGN_ERROR", "Http头Authorization值格式错误或商户号不存在")
        keys, method = self._keys.merchant, request.method
        if not is_request_signed(parts, keys, method=method, path=path, body=body):
            raise ApiError(401, "SIGN_ERROR", "签名错误，请检查后再试")
        return body

    def _signed(self, request: Request, status: int, body: str) -> Response:
        """With the key that the request names, otherwise with the platform certificate's."""
        wanted = request.headers.get("wechatpay-serial", "")
        known = wanted in self._keys.platform
        serial = wanted if known else self._keys.certificate_serial
        headers = signed_headers(body, serial=serial, key=self._keys.platform[serial])
        media_type = "application/json" if body else None
        return Response(body, status, headers, media_type)

    async def order(
        self, request: Request, method: str, body: str
    ) -> tuple[str, Call, Answer | None]:
        found = parse_object(body)
        if found is None:
            raise wrong("body")
        new = new_trade(method, found, self._merchant)
        await self._faults.before(request, "wechatpay", "send", order=new.out_trade_no)
        trade = await self._payers.pay_before_answering(self._ordered(new))
        return new.out_trade_no, "send", self._next_step(trade)

    def _ordered(self, new: NewTrade) -> Trade:
        lives = H5_LINK_LIVES if new.method == "h5" else PREPAY_LIVES
        trade = self._found(new.out_trade_no)
        if trade is None:
            return self._trades.add(new, status="waiting", link_lives=lives)
        if trade.is_paid:
            raise ApiError(403, "ORDERPAID", "该订单已支付")
        if trade.status == "closed":
            raise ApiError(400, "ORDER_CLOSED", "该订单已关闭")
        if not trade.orders_the_same_as(new):
            raise ApiError(403, "OUT_TRADE_NO_USED", "商户订单号重复，且参数与首次请求不一致")
        return self._trades.renew_link(trade, lives)

    def _next_step(self, trade: Trade) -> Answer:
        address = f"{self._public_url}/cashier/wechatpay/{trade.token}"
        if trade.method == "h5":
            return {"h5_url": f"{address}?prepay_id={PREFIX}{trade.token}"}
        if trade.method == "native":
            return {"code_url": address}
        return {"prepay_id": f"{PREFIX}{trade.token}"}

    async def query(self, request: Request, order: str) -> tuple[str, Call, Answer | None]:
        if request.query_params.get("mchid") != self._merchant.merchant_id:
            raise wrong("mchid")
        await self._faults.before(request, "wechatpay", "query", order=order)
        return order, "query", view(self._existing(order), self._merchant)

    async def close(
        self, request: Request, order: str, body: str
    ) -> tuple[str, Call, Answer | None]:
        found = parse_object(body)
        if found is None or found.get("mchid") != self._merchant.merchant_id:
            raise wrong("mchid")
        await self._faults.before(request, "wechatpay", "close", order=order)
        trade = self._existing(order)
        if trade.is_paid:
            raise ApiError(403, "ORDERPAID", "该订单已支付")
        if trade.status == "closed":
            raise ApiError(400, "ORDER_CLOSED", "该订单已关闭")
        self._payers.close(trade)
        return order, "close", None

    def _existing(self, order: str) -> Trade:
        trade = self._found(order)
        if trade is None:
            raise ApiError(404, "ORDER_NOT_EXIST", "查询的订单不存在")
        return trade

    def _found(self, order: str) -> Trade | None:
        trade = self._trades.find("wechatpay", order)
        return self._payers.expire(trade) if trade and has_expired(trade) else trade

    def trade_of(self, prepay_id: str) -> Trade | None:
        return self._trades.by_token("wechatpay", prepay_id.removeprefix(PREFIX))

    def certificates(self) -> Answer:
        return {"data": [self._certificate(*item) for item in self._keys.certificates.items()]}

    def _certificate(self, serial: str, pem: str) -> Answer:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        return {
            "serial_no": serial,
            "effective_time": certificate.not_valid_before_utc.astimezone(UTC).isoformat(),
            "expire_time": certificate.not_valid_after_utc.astimezone(UTC).isoformat(),
            "encrypt_certificate": encrypted(pem, self._keys.apiv3, "certificate"),
        }


def api_routes(api: WechatPayApi) -> APIRouter:
    router = APIRouter(prefix="/v3", include_in_schema=False)

    @router.post("/pay/transactions/{method}")
    async def order(method: str, request: Request) -> Response:
        async def work(body: str) -> tuple[str, Call, Answer | None]:
            if method not in METHODS:
                raise ApiError(404, "RESOURCE_NOT_EXISTS", "请求的资源不存在")
            return await api.order(request, method, body)

        return await api.answer(request, work)

    @router.get("/pay/transactions/out-trade-no/{order_no}")
    async def query(order_no: str, request: Request) -> Response:
        async def work(_: str) -> tuple[str, Call, Answer | None]:
            return await api.query(request, order_no)

        return await api.answer(request, work)

    @router.post("/pay/transactions/out-trade-no/{order_no}/close")
    async def close(order_no: str, request: Request) -> Response:
        async def work(body: str) -> tuple[str, Call, Answer | None]:
            return await api.close(request, order_no, body)

        return await api.answer(request, work)

    @router.get("/certificates")
    async def certificates(request: Request) -> Response:
        async def work(_: str) -> tuple[str, Call, Answer | None]:
            return "", "query", api.certificates()

        return await api.answer(request, work)

    return router
