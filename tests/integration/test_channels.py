"""Whatever a channel does, each bill ends as the table says, and the whole world agrees."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2

from devstack.stack import Stack
from testing.eventually import eventually
from tests.integration.support.cashiers import Payer, open_desks
from tests.integration.support.channel_cases import (
    CASHIER_CASES,
    CASHIERS,
    DIRECT,
    DIRECT_CASES,
    PAID,
    Case,
    pays,
)
from tests.integration.support.endings import Ending
from tests.integration.support.judging import violations_about
from tests.integration.support.people import People
from tests.integration.support.sandbox import Sandbox

ENDING_SECONDS = 60.0
# Alipay signs no time that must be fresh: it repeats its notifications for 25 hours.
UNBELIEVABLE = {
    *((channel, lie) for channel in CASHIERS for lie in ("forged_signature", "other_merchant")),
    ("wechatpay", "stale_timestamp"),
}
# Of each channel, all at once.
SILENT_ORDERS = 10


@dataclass(frozen=True, slots=True)
class Told:
    """One case at one channel, and what came of it."""

    name: str
    expected: Ending
    payer: Payer
    error: str = ""


@dataclass(frozen=True, slots=True)
class Send:
    """A notification that lied, and whether we told the channel that we believe it."""

    lie: tuple[str, str]
    is_accepted: bool


async def test_every_fault_at_every_channel_ends_as_the_table_says(
    stack: Stack, people: People, sandbox: Sandbox
) -> None:
    async with open_desks(stack, sandbox) as desks:
        stories = [
            _tell(case, Payer(desks, people.somebody(), channel))
            for channel in CASHIERS
            for case in CASHIER_CASES
        ]
        stories += [_tell(case, Payer(desks, people.somebody(), DIRECT)) for case in DIRECT_CASES]
        told = await asyncio.gather(*stories)

    assert [(each.name, each.error) for each in told if each.error] == []
    assert [lie for lie in await sandbox.faults() if not lie["fired_count"]] == []
    sends = [send for trade in await sandbox.trades() for send in _sends(trade)]
    assert {send.lie for send in sends} >= UNBELIEVABLE
    assert [send for send in sends if send.lie in UNBELIEVABLE and send.is_accepted] == []
    orders = [order for each in told for order in each.payer.orders]
    violations = await asyncio.to_thread(violations_about, stack, orders)
    assert violations == set()
    # Nothing moved afterwards, and no fen is missing between their books and ours.
    found = {each.name: await each.payer.ending() for each in told}
    assert found == {each.name: each.expected for each in told}


async def test_without_any_notification_every_order_settles_by_query(
    stack: Stack, people: People, sandbox: Sandbox
) -> None:
    silent = Case("silent", pays(), PAID)
    for channel in CASHIERS:
        await sandbox.fault(channel, "never_notify")

    async with open_desks(stack, sandbox) as desks:
        payers = [
            Payer(desks, people.somebody(), channel)
            for channel in CASHIERS
            for _ in range(SILENT_ORDERS)
        ]
        told = await asyncio.gather(*(_tell(silent, payer) for payer in payers))

    assert [(each.name, each.error) for each in told if each.error] == []


def _sends(trade: dict[str, Any]) -> Iterator[Send]:
    for notification in trade["notifications"]:
        for send in notification["sends"]:
            for lie in send["lies"]:
                yield Send((trade["channel"], lie), send["answer_status"] in (200, 204))


async def _tell(case: Case, payer: Payer) -> Told:
    """Never raises, so that one broken story does not hide the others."""
    name = f"{payer.channel}: {case.name}"

    async def ended() -> bool:
        found = await payer.ending()
        assert found == case.ending, found
        return True

    try:
        await case.story(payer)
        await eventually(ended, ENDING_SECONDS)
    except (AssertionError, httpx2.HTTPError) as error:
        return Told(name, case.ending, payer, f"{type(error).__name__}: {error}")
    return Told(name, case.ending, payer)
