"""The sandbox as tests use it: its books, and faults on demand."""

from typing import Any
from urllib.parse import quote

import httpx2


class Sandbox:
    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def messages_to(self, phone: str) -> list[dict[str, Any]]:
        """The SMS that this phone got, oldest first."""
        return await self._items(f"/sandbox/v1/sms?phone={quote(phone)}")

    async def messages(self) -> list[dict[str, Any]]:
        return await self._items("/sandbox/v1/sms?limit=1000")

    async def charges(self) -> list[dict[str, Any]]:
        """Every charge that the direct channel booked, oldest first."""
        return await self._items("/sandbox/v1/charges?limit=1000")

    async def book(self) -> dict[str, int]:
        """How many charges succeeded, and their sum in fen."""
        answer = await self._client.get("/sandbox/v1/charges/totals")
        answer.raise_for_status()
        totals: dict[str, int] = answer.json()
        return totals

    async def fault(self, target: str, kind: str, **more: object) -> None:
        answer = await self._client.post(
            "/sandbox/v1/faults", json={"target": target, "kind": kind, **more}
        )
        answer.raise_for_status()

    async def faults(self) -> list[dict[str, Any]]:
        """Every fault that was asked for, with how often it fired so far."""
        return await self._items("/sandbox/v1/faults?limit=1000")

    async def trades(self) -> list[dict[str, Any]]:
        """Every order at Alipay and WeChat Pay, with each notification that was sent of it."""
        return await self._items("/sandbox/v1/trades?limit=1000")

    async def clear_faults(self) -> None:
        (await self._client.delete("/sandbox/v1/faults")).raise_for_status()

    async def _items(self, path: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        cursor = ""
        # Bounded: a book of a million entries is a fault of the test.
        for _ in range(1000):
            answer = await self._client.get(path + (f"&cursor={cursor}" if cursor else ""))
            answer.raise_for_status()
            page = answer.json()
            items = page["items"] + items
            cursor = page.get("next_cursor") or ""
            if not cursor:
                return items
        raise AssertionError(f"{path} has no end")
