"""Mode *starts*: how long a payer waits from "pay" to what to do next, at a modest rate.

Payment's API and identity's keys as in production, access tokens and idempotency keys, and the
sandbox as a channel that takes 80 ms for each answer. Alipay's page is signed here and calls
nobody, so half of the payers ask it for a QR code, and half WeChat Pay for its page.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx2
import msgspec
import psycopg

from bench import cpu
from bench.callback.mode import start_api
from bench.callback.prefill import open_orders
from bench.callback.sender import OpenLoop, Sent
from bench.result import Machine, now, this_commit, this_machine
from bench.step import Latency, Void, Window, latency_ms
from bench.validity import require_durable
from devstack.report import Report
from services.payment.domain.payment_order import PaymentOrder
from shared.kernel.ids import new_id
from shared.runtime.database.database import open_database
from shared.runtime.keys.access_token import SigningKeys, sign_access_token
from testing.stacks.core_stack import CoreStack

CHANNEL_DELAY_MS = 80
P99_GOAL_MS = 300.0
WAYS = (("alipay", "qr"), ("wechatpay", "h5"))
BEGUN = """
    SELECT count(*) FILTER (WHERE status = 'AWAITING_PAYER' AND send_count = 1), count(*),
           count(DISTINCT order_id)
    FROM payment_attempt
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartsProtocol:
    """Starts per second, and for how long each rate is offered."""

    rates: Sequence[float]
    window: Window


FULL = StartsProtocol(rates=(20.0, 50.0), window=Window(4, 20))
QUICK = StartsProtocol(rates=(20.0,), window=Window(2, 8))


class StartsStep(msgspec.Struct, frozen=True, kw_only=True):
    """What one rate gave; latencies are of the starts that were due in the steady window."""

    offered_rate: float
    starts: int
    latency_ms: Latency
    cpu_us_per_start: dict[str, float]


class StartsResult(msgspec.Struct, frozen=True, kw_only=True):
    """Every number of one run. `load_average` is of the minute before it began."""

    commit: str
    began_at: datetime
    quick: bool
    machine: Machine
    load_average: float
    channel_delay_ms: int
    steps: list[StartsStep]


def run_starts(
    core: CoreStack, protocol: StartsProtocol, report: Report, *, quick: bool
) -> StartsResult:
    """One private stack, each rate once. Raises Void."""
    began_at, load = now(), os.getloadavg()[0]
    _up(core)
    steps: list[StartsStep] = []
    for rate in protocol.rates:
        before = cpu.cpu_seconds(core)
        sent = asyncio.run(_offer(core, rate, protocol.window))
        used = cpu.between(before, cpu.cpu_seconds(core))
        step = measured(sent, rate, protocol.window, used)
        steps.append(step)
        require_begun(core.databases["payment"], sum(step.starts for step in steps))
        latency = step.latency_ms
        report.step(f"{rate:,.0f}/s", f"p50 {latency.p50:,.0f} ms, p99 {latency.p99:,.0f} ms")
    return StartsResult(
        commit=this_commit(),
        began_at=began_at,
        quick=quick,
        machine=this_machine(),
        load_average=load,
        channel_delay_ms=CHANNEL_DELAY_MS,
        steps=steps,
    )


def measured(sent: Sent, rate: float, window: Window, used_seconds: dict[str, float]) -> StartsStep:
    """The figures of a step. Raises Void unless every payer was told what to do next."""
    count = len(sent.statuses)
    answers = zip(sent.statuses, sent.bodies, strict=True)
    untold = [(status, body) for status, body in answers if not _tells_what_to_do(status, body)]
    if untold:
        status, body = untold[0]
        raise Void(
            f"{len(untold)} of {count} payers were not told what to do next, but {status}"
            f" {body.decode('utf-8', 'replace')}"
        )
    seconds = [
        at - place / rate
        for place, at in enumerate(sent.answered_at)
        if at is not None and window.warm_up_seconds <= place / rate < window.seconds
    ]
    return StartsStep(
        offered_rate=rate,
        starts=count,
        latency_ms=latency_ms(seconds),
        cpu_us_per_start={name: used * 1e6 / count for name, used in sorted(used_seconds.items())},
    )


def require_begun(database_url: str, starts: int) -> None:
    """Each start is one attempt of its own order, sent once and awaiting its payer.

    Raises Void.
    """
    with psycopg.connect(database_url) as connection:
        row = connection.execute(BEGUN).fetchone()
    if row != (starts, starts, starts):
        raise Void(f"awaiting, attempts and orders are {row} instead of {starts} each")


def table(result: StartsResult) -> str:
    """Markdown, also good in a terminal."""
    lines = [
        f"Commit {result.commit}, {result.began_at:%Y-%m-%d %H:%M} UTC{_quick(result)}.",
        f"{result.machine}; everything on them. Load average before the run:"
        f" {result.load_average:.1f}.",
        f"The channel answers after {result.channel_delay_ms} ms.",
        "",
        "| starts/s | p50 ms | p95 ms | p99 ms | max ms | goal | CPU µs per start |",
        "|---|---|---|---|---|---|---|",
    ]
    for step in result.steps:
        latency = step.latency_ms
        used = ", ".join(f"{name} {us:,.0f}" for name, us in step.cpu_us_per_start.items())
        lines.append(
            f"| {step.offered_rate:,.0f} | {latency.p50:,.0f} | {latency.p95:,.0f}"
            f" | {latency.p99:,.0f} | {latency.max:,.0f} | p99 ≤ {P99_GOAL_MS:.0f} | {used} |"
        )
    return "\n".join([*lines, ""])


def _quick(result: StartsResult) -> str:
    return " (quick)" if result.quick else ""


def _tells_what_to_do(status: int, body: bytes) -> bool:
    return status == 201 and msgspec.json.decode(body).get("next_action") is not None


def _up(core: CoreStack) -> None:
    """Payment's API, identity's for its keys, and the sandbox, slow."""
    core.up_servers()
    core.stack.run("identity", "migrate")
    for name in ("sandbox", "identity-api"):
        core.stack.start(name)
    # Nobody relays here: what is told stays in the outbox.
    core.stack.stop("kafka")
    start_api(core)
    require_durable(core)
    for channel, _ in WAYS:
        fault = {"target": channel, "kind": "slow", "on": "send", "delay_ms": CHANNEL_DELAY_MS}
        answer = httpx2.post(f"{core.stack.urls['sandbox']}/sandbox/v1/faults", json=fault)
        answer.raise_for_status()


async def _offer(core: CoreStack, rate: float, window: Window) -> Sent:
    database = open_database(
        core.databases["payment"].replace("://", "+asyncpg://", 1), source="payment", pool_size=1
    )
    try:
        orders = await open_orders(database, round(rate * window.seconds), now=datetime.now(UTC))
    finally:
        await database.close()
    address = urlsplit(core.stack.urls["payment"])
    assert address.hostname is not None
    assert address.port is not None
    keys = SigningKeys(core.stack.plan().keys_dir / "access-tokens")
    requests = [
        start_request(order, WAYS[place % len(WAYS)], keys, host=address.netloc)
        for place, order in enumerate(orders)
    ]
    return await OpenLoop(address.hostname, address.port, requests, rate).run()


def start_request(
    order: PaymentOrder, way: tuple[str, str], keys: SigningKeys, *, host: str
) -> bytes:
    """A payer's whole HTTP request, with a valid access token."""
    token = sign_access_token(
        keys.newest,
        insured_person_id=order.insured_person_id,
        session_id=new_id(),
        now=datetime.now(UTC),
    )
    channel, method = way
    body = msgspec.json.encode({"channel": channel, "method": method})
    lines = [
        f"POST /payment/v1/orders/{order.id}/attempts HTTP/1.1",
        f"Host: {host}",
        f"Authorization: Bearer {token}",
        f"Idempotency-Key: {new_id()}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
