"""Load by people who go to a cashier: each begins, opens the page and presses its button."""

import re
from itertools import cycle
from urllib.parse import urljoin

import httpx2

from tests.crash.load import AT_ONCE, Client, WireLoad

PAY_BUTTON = re.compile(r'action="([^"]+/pay[^"]*)"')
WAYS = (("alipay", "wap"), ("wechatpay", "h5"))


class CashierLoad(WireLoad):
    """Payments at both cashiers; whoever gets no answer asks again with the same key."""

    async def assess(self) -> None:
        await super().assess()
        self._ways = cycle(WAYS)
        limits = httpx2.Limits(max_connections=AT_ONCE)
        self._payment = httpx2.AsyncClient(
            base_url=self.stack.stack.urls["payment"], timeout=10, trust_env=False, limits=limits
        )
        self._browser = httpx2.AsyncClient(
            timeout=10, trust_env=False, follow_redirects=True, limits=limits
        )

    async def pay(self, client: Client) -> None:
        """Also whoever reads nothing on the page that follows has paid: the books will tell."""
        channel, method = next(self._ways)
        order_id = await self.request_payment(client, {"channel": channel})
        begun = await self.post(
            self._payment,
            f"/payment/v1/orders/{order_id}/attempts",
            client,
            {"channel": channel, "method": method},
        )
        page = await self._browser.get(begun["next_action"]["url"])
        button = PAY_BUTTON.search(page.text)
        if button is None:
            raise TimeoutError(f"the cashier of order {order_id} has no button")
        await self._browser.post(urljoin(str(page.url), button.group(1).replace("&amp;", "&")))

    async def close(self) -> None:
        await super().close()
        await self._payment.aclose()
        await self._browser.aclose()
