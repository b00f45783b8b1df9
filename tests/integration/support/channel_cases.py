"""The table of what channels do to payers, and how each story must end.

A case is a name, what happens, and the ending. Cashier cases run at both cashiers.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from tests.integration.support.cashiers import Lie, Payer
from tests.integration.support.endings import Ending

FEN = 145_400
TOLD_FAILED = ("contribution_assessed", "payment_failed", "payment_requested")
# In the phone's browser, and the way whose start calls the channel.
BROWSER: Mapping[str, str] = {"alipay": "wap", "wechatpay": "h5"}
CALLED: Mapping[str, str] = {"alipay": "qr", "wechatpay": "h5"}
CASHIERS = tuple(BROWSER)
# Its id at payment, and its name in the sandbox's faults.
DIRECT, DIRECT_TARGET = "bank-direct-debit", "bank"
ALWAYS = None
# Long enough for an order to fail first, and for a second one to be paid.
LATE_MS = 25_000

PAID = Ending(attempts=("SUCCEEDED",), orders=("SETTLED",), contribution="PAID", taken_fen=FEN)
PAID_ANEW = replace(PAID, attempts=("CLOSED", "SUCCEEDED"))
SUSPENDED = Ending(
    attempts=("SUCCEEDED",),
    orders=("FAILED",),
    contribution="ASSESSED",
    taken_fen=FEN + 1,
    held_fen=FEN + 1,
    items=("refund_due", "wrong_amount"),
    told=TOLD_FAILED,
)
REFUSED = Ending(
    attempts=("DECLINED",),
    orders=("FAILED",),
    contribution="ASSESSED",
    taken_fen=0,
    told=TOLD_FAILED,
)
PAID_LATE = replace(
    PAID, told=("contribution_assessed", "payment_failed", "payment_requested", "payment_settled")
)
PAID_TWICE = Ending(
    attempts=("SUCCEEDED", "SUCCEEDED"),
    orders=("FAILED", "SETTLED"),
    contribution="PAID",
    taken_fen=2 * FEN,
    held_fen=FEN,
    items=("refund_due",),
    told=(
        *("contribution_assessed", "payment_failed"),
        *("payment_requested", "payment_requested", "payment_settled"),
    ),
)

Story = Callable[[Payer], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    story: Story
    ending: Ending


def pays(*lies: Lie) -> Story:
    """The payer confirms while the channel lies about this order."""

    async def story(payer: Payer) -> None:
        await payer.begin(BROWSER[payer.channel])
        await payer.lie(*lies)
        assert await payer.confirm()

    return story


def pays_after_a_bad_start(lie: Lie) -> Story:
    """The start itself goes wrong; the payer's page repeats it with the same key."""

    async def story(payer: Payer) -> None:
        await payer.begin(CALLED[payer.channel], lie)
        assert await payer.confirm()

    return story


async def paid_before_we_knew(payer: Payer) -> None:
    await payer.begin(CALLED[payer.channel], Lie("notify_before_answer", "send"))


async def tries_again_after_a_decline(payer: Payer) -> None:
    await payer.begin(BROWSER[payer.channel])
    await payer.lie(Lie("decline"))
    assert not await payer.confirm()
    assert await payer.confirm()


def gives_up_and_pays_after_all(*lies: Lie) -> Story:
    """The cashier was opened, so there is something to close; the second attempt pays."""

    async def story(payer: Payer) -> None:
        await payer.begin(BROWSER[payer.channel])
        await payer.open()
        await payer.lie(*lies)
        assert await payer.give_up() in (200, 202)
        await payer.until_attempt("closed")
        await payer.begin(BROWSER[payer.channel])
        assert await payer.confirm()

    return story


async def money_comes_after_closing(payer: Payer) -> None:
    await payer.begin(BROWSER[payer.channel])
    await payer.open()
    await payer.lie(Lie("pay_after_close", delay_ms=1500))
    assert await payer.give_up() in (200, 202)


async def money_comes_after_closing_and_only_the_payer_says_so(payer: Payer) -> None:
    await payer.begin(BROWSER[payer.channel])
    await payer.open()
    await payer.lie(Lie("pay_after_close", delay_ms=1500), SILENT)
    assert await payer.give_up() in (200, 202)
    await payer.until_attempt("closed")
    await payer.insist_until_attempt("succeeded")


async def money_comes_after_failing(payer: Payer) -> None:
    await payer.begin(BROWSER[payer.channel])
    await payer.open()
    await payer.lie(Lie("pay_after_close", delay_ms=LATE_MS))
    await payer.run_out_of_time()
    await payer.until_order("failed")


async def money_comes_after_another_order_paid(payer: Payer) -> None:
    await money_comes_after_failing(payer)
    await payer.request_again()
    await payer.begin(BROWSER[payer.channel])
    assert await payer.confirm()


async def time_runs_out(payer: Payer) -> None:
    await payer.begin(BROWSER[payer.channel])
    await payer.open()
    await payer.run_out_of_time()


def is_debited(*lies: Lie) -> Story:
    """Nobody confirms anything: the request is enough."""

    async def story(payer: Payer) -> None:
        async with payer.desks.lock(payer.channel):
            for lie in lies:
                await payer.desks.sandbox.fault(DIRECT_TARGET, lie.kind, **lie.body())
            await payer.request()
            await payer.until_order("settled", "failed")

    return story


ENDED_UNPAID = replace(REFUSED, attempts=("CLOSED",))
SILENT = Lie("never_notify", count=ALWAYS)
CALLS_GO_WRONG = (
    Lie("timeout_before_booking"),
    Lie("timeout_after_booking"),
    Lie("error_500", count=2),
    Lie("error_500_after_booking"),
    Lie("slow"),
)
PROCESSING = Lie("processing", "send", delay_ms=1500)
BANK_LIES = (*CALLS_GO_WRONG, PROCESSING)
HOSTILE_ANSWERS = tuple(
    Lie(f"answer_{kind}", "query")
    for kind in ("huge", "wrong_type", "duplicate_keys", "not_json", "other_order")
)


def _on(call: str, lie: Lie) -> Lie:
    return replace(lie, on=call)


CASHIER_CASES = (
    Case("nothing", pays(), PAID),
    Case("never_notify", pays(SILENT), PAID),
    Case("notify_times", pays(Lie("notify_times", count=ALWAYS, times=8)), PAID),
    Case("out_of_order", pays(Lie("out_of_order", delay_ms=1000)), PAID),
    Case("notify_before_answer to the start", paid_before_we_knew, PAID),
    Case("notify_before_answer to the payer", pays(Lie("notify_before_answer", "pay")), PAID),
    Case("forged_signature", pays(Lie("forged_signature", count=ALWAYS)), PAID),
    Case("stale_timestamp", pays(Lie("stale_timestamp", count=ALWAYS)), PAID),
    Case("other_merchant", pays(Lie("other_merchant", count=ALWAYS)), PAID),
    Case("wrong_amount told", pays(Lie("wrong_amount", "notify", count=ALWAYS)), PAID),
    Case("wrong_amount taken", pays(Lie("wrong_amount", "pay")), SUSPENDED),
    Case("wrong_amount taken, silent", pays(Lie("wrong_amount", "pay"), SILENT), SUSPENDED),
    *(
        Case(f"{lie.kind} at the start", pays_after_a_bad_start(_on("send", lie)), PAID)
        for lie in CALLS_GO_WRONG
    ),
    *(
        Case(f"{lie.kind} at the query, silent", pays(SILENT, _on("query", lie)), PAID)
        for lie in CALLS_GO_WRONG
    ),
    *(Case(f"{lie.kind} at the query, silent", pays(SILENT, lie), PAID) for lie in HOSTILE_ANSWERS),
    *(
        Case(f"{lie.kind} at the close", gives_up_and_pays_after_all(_on("close", lie)), PAID_ANEW)
        for lie in CALLS_GO_WRONG
    ),
    Case("decline", tries_again_after_a_decline, PAID),
    Case("pay_after_close", money_comes_after_closing, PAID),
    Case("pay_after_close, silent", money_comes_after_closing_and_only_the_payer_says_so, PAID),
    Case("late success", money_comes_after_failing, PAID_LATE),
    Case("late success beside another order", money_comes_after_another_order_paid, PAID_TWICE),
    Case("expiry", time_runs_out, ENDED_UNPAID),
)

DIRECT_CASES = (
    Case("nothing", is_debited(), PAID),
    *(Case(f"{lie.kind} at the start", is_debited(_on("send", lie)), PAID) for lie in BANK_LIES),
    *(
        Case(f"{lie.kind} at the query", is_debited(PROCESSING, _on("query", lie)), PAID)
        for lie in CALLS_GO_WRONG
    ),
    Case("decline", is_debited(Lie("decline", "send")), REFUSED),
)
