"""Pages that stand for the channels' apps: they take what an app or a page hands to the client.

The real clients verify the signature over it and show the cashier; so do these.
"""

from collections.abc import Mapping

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from sandbox import rsa
from sandbox.alipay.gateway import AlipayGateway
from sandbox.alipay.requests import Rejected
from sandbox.cashier.page import error_page
from sandbox.rsa import WechatPayKeys
from sandbox.wechatpay.api import WechatPayApi
from sandbox.wechatpay.orders import Merchant
from sandbox.wechatpay.signing import pay_sign_message

SEE_OTHER = 303


def alipay_client_routes(gateway: AlipayGateway) -> APIRouter:
    router = APIRouter(prefix="/cashier/alipay", include_in_schema=False)

    @router.get("/app")
    @router.post("/app")
    async def open_order_string(request: Request) -> Response:
        """The order string of app pay, as the query or as the body."""
        order_string = request.scope["query_string"] or await request.body()
        try:
            trade = gateway.order_of(order_string)
        except Rejected as rejected:
            return HTMLResponse(error_page(rejected.body["sub_msg"]), 400)
        return RedirectResponse(f"/cashier/alipay/{trade.token}", SEE_OTHER)

    return router


def wechatpay_client_routes(
    api: WechatPayApi, keys: WechatPayKeys, merchant: Merchant
) -> APIRouter:
    router = APIRouter(prefix="/cashier/wechatpay", include_in_schema=False)

    @router.get("/client")
    async def open_prepay_id(request: Request) -> Response:
        """The fields of JSAPI or of the app, as the query."""
        prepay_id = _prepay_id(request.query_params, keys, merchant)
        trade = api.trade_of(prepay_id) if prepay_id else None
        if trade is None:
            return HTMLResponse(error_page("支付验证签名失败，或没有这笔订单。"), 400)
        return RedirectResponse(f"/cashier/wechatpay/{trade.token}", SEE_OTHER)

    return router


def _prepay_id(fields: Mapping[str, str], keys: WechatPayKeys, merchant: Merchant) -> str | None:
    """The prepay id that the merchant signed, None where it did not."""
    if "paySign" in fields:
        package = fields.get("package", "")
        app_id, at, nonce = fields.get("appId"), fields.get("timeStamp"), fields.get("nonceStr")
        signed, signature = [app_id, at, nonce, package], fields["paySign"]
        prepay_id = package.removeprefix("prepay_id=")
    else:
        prepay_id = fields.get("prepayid", "")
        app_id, at, nonce = fields.get("appid"), fields.get("timestamp"), fields.get("noncestr")
        signed, signature = [app_id, at, nonce, prepay_id], fields.get("sign", "")
    if app_id != merchant.app_id:
        return None
    message = pay_sign_message([part or "" for part in signed])
    return prepay_id if rsa.is_signed(message, signature, keys.merchant.values()) else None
