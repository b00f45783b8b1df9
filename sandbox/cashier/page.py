"""The cashier as a phone shows it: plain HTML in Chinese, no script, buttons that are forms."""

from dataclasses import dataclass
from html import escape
from typing import Literal

from sandbox.trades import Channel, Trade, has_expired
from shared.kernel.money import Money

MERCHANT = "养老保险缴费（演示商户）"
NAMES: dict[Channel, str] = {"alipay": "支付宝", "wechatpay": "微信支付"}
COLOURS: dict[Channel, str] = {"alipay": "#1452cc", "wechatpay": "#06703a"}
Notice = Literal["", "cancelled", "declined", "stale_link"]
STYLE = """
* { box-sizing: border-box }
body { margin: 0; background: #f3f4f6; color: #1c1e21; font: 18px/1.6 system-ui, sans-serif }
header { background: var(--colour); color: #fff; padding: 14px 20px; font-size: 20px }
header small { float: right; font-size: 14px; line-height: 32px }
main { max-width: 480px; margin: 0 auto; padding: 20px }
section { background: #fff; border-radius: 12px; padding: 20px; text-align: center }
h1 { font-size: 24px; margin: 4px 0 8px }
.amount { font-size: 40px; font-weight: 600; margin: 8px 0 }
dl { display: grid; grid-template-columns: auto 1fr; gap: 6px 14px; margin: 16px 0 0 }
dt { color: #5a5f66; text-align: left }
dd { margin: 0; text-align: right; overflow-wrap: anywhere }
button, .button { display: block; width: 100%; min-height: 52px; margin-top: 16px; padding: 10px;
  border: 2px solid var(--colour); border-radius: 10px; font: inherit; font-size: 20px;
  text-align: center; text-decoration: none; background: #fff; color: var(--colour) }
.main { background: var(--colour); color: #fff }
footer { color: #5a5f66; font-size: 15px; text-align: center; padding: 16px }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cashier:
    """One look at a trade: where its buttons lead, where the way back is, what just happened."""

    trade: Trade
    path: str
    query: str
    back_url: str
    notice: Notice = ""

    @property
    def is_open(self) -> bool:
        may_be_paid = self.trade.status in ("prepared", "waiting") and not has_expired(self.trade)
        return may_be_paid and self.notice != "stale_link"


def cashier_page(cashier: Cashier) -> str:
    trade = cashier.trade
    heading, sentence = _words(cashier)
    paid_fen = trade.paid_fen or trade.amount_fen
    facts = [("收款方", MERCHANT), ("商品", trade.description), ("商户单号", trade.out_trade_no)]
    if trade.is_paid:
        facts.append(("交易号", trade.trade_no))
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts)
    body = (
        f'<section><div role="status"><h1>{escape(heading)}</h1><p>{escape(sentence)}</p></div>'
        f'<p class="amount">¥{Money(paid_fen).yuan}</p><dl>{listed}</dl></section>'
        f"{_buttons(cashier)}"
    )
    return _document(trade.channel, heading, body)


def _words(cashier: Cashier) -> tuple[str, str]:
    trade = cashier.trade
    if trade.is_paid:
        return "付款成功", "缴费结果请回到商户页面查看。"
    if cashier.notice == "stale_link":
        return "链接已过时", "没有扣款。请回到商户页面，重新打开付款。"
    if not cashier.is_open:
        return "订单已关闭", "没有扣款。请回到商户页面重新下单。"
    if cashier.notice == "declined":
        return "这次没付成", "没有扣款。您的账户拒绝了这笔付款，可以再试一次。"
    if cashier.notice == "cancelled":
        return "您取消了付款", "没有扣款。订单还在，可以继续付款，也可以回到商户页面。"
    return "确认付款", "请核对收款方和金额。"


def _buttons(cashier: Cashier) -> str:
    back = ""
    if cashier.back_url:
        look = "button main" if cashier.trade.is_paid else "button"
        back = f'<a class="{look}" href="{escape(cashier.back_url)}">返回商户</a>'
    if not cashier.is_open:
        return back
    pay = _form(f"{cashier.path}/pay{cashier.query}", "确认付款", "main")
    if cashier.notice == "cancelled":
        return pay + back
    return pay + _form(f"{cashier.path}/cancel{cashier.query}", "取消", "")


def _form(action: str, label: str, look: str) -> str:
    button = f'<button type="submit" class="{look}">{label}</button>'
    return f'<form method="post" action="{escape(action)}">{button}</form>'


def error_page(sentence: str) -> str:
    """What a payer sees where there is nothing to pay."""
    body = (
        '<section><div role="status"><h1>不能付款</h1>'
        f"<p>{escape(sentence)}</p><p>没有扣款。请回到商户页面。</p></div></section>"
    )
    return _document(None, "不能付款", body)


def _document(channel: Channel | None, title: str, body: str) -> str:
    name = NAMES[channel] if channel else "收银台"
    colour = COLOURS[channel] if channel else "#4b5057"
    return (
        '<!doctype html><html lang="zh-CN"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · {name}（沙箱）</title>"
        f"<style>:root {{ --colour: {colour} }}{STYLE}</style></head><body>"
        f"<header>{name}<small>沙箱 · 不是真的钱</small></header><main>{body}</main>"
        "<footer>这是开发用的收银台，只有演示账户会付款。</footer></body></html>"
    )
