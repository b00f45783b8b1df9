"""The saga's payment side against the real sandbox: every fault ends in the truth, charged once."""

from typing import Any

import httpx2
import pytest

from services.payment.tests.world import World

ORDERS = 3


async def inject(sandbox: httpx2.AsyncClient, kind: str, **changes: Any) -> None:
    fault = {"target": "bank", "kind": kind, "count": ORDERS} | changes
    (await sandbox.post("/sandbox/v1/faults", json=fault)).raise_for_status()


async def book(sandbox: httpx2.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await sandbox.get("/sandbox/v1/charges")).json()
    return found


@pytest.mark.parametrize(
    ("kind", "on"),
    [
        ("timeout_after_booking", "send"),
        ("timeout_before_booking", "send"),
        ("error_500", "send"),
        ("error_500_after_booking", "send"),
        ("slow", "send"),
        ("timeout_before_booking", "any"),
        ("error_500", "any"),
        ("slow", "any"),
    ],
)
async def test_whatever_the_channel_does_every_order_settles_with_one_charge(
    sandbox_world: World, sandbox: httpx2.AsyncClient, kind: str, on: str
) -> None:
    world = sandbox_world
    await inject(sandbox, kind, on=on)
    for _ in range(ORDERS):
        await world.open()

    await world.run()
    right_after = await world.rows("SELECT status FROM payment_order")
    await world.run_to_the_end()

    assert "FAILED" not in {row["status"] for row in right_after}
    orders = await world.rows("SELECT * FROM payment_order")
    assert [order["status"] for order in orders] == ["SETTLED"] * ORDERS
    charges = await book(sandbox)
    assert charges["totals"]["succeeded_count"] == ORDERS
    assert {charge["trade_no"] for charge in charges["items"]} == {
        order["channel_trade_no"] for order in orders
    }
    assert await world.told_types() == ["PaymentSettled"] * ORDERS


async def test_the_sandbox_charges_and_times_out_and_the_order_never_fails(
    sandbox_world: World, sandbox: httpx2.AsyncClient
) -> None:
    world = sandbox_world
    await inject(sandbox, "timeout_after_booking", count=1)
    await inject(sandbox, "error_500", on="query", count=3)
    order_id = await world.open()

    await world.run()
    unknown = await world.attempt(order_id)
    await world.run_to_the_end()

    assert unknown["status"] == "UNKNOWN"
    assert (await world.order(order_id))["status"] == "SETTLED"
    assert (await world.attempt(order_id))["send_count"] == 1
    (charge,) = (await book(sandbox))["items"]
    assert charge["request_count"] == 1
    assert charge["attempt_id"] == unknown["id"].hex


async def test_declines_fail_their_orders_and_take_nothing(
    sandbox_world: World, sandbox: httpx2.AsyncClient
) -> None:
    world = sandbox_world
    await inject(sandbox, "decline", count=1, reason="limit_exceeded")
    order_id = await world.open()

    await world.run_to_the_end()

    assert (await world.order(order_id))["reason"] == "limit_exceeded"
    assert (await book(sandbox))["totals"]["succeeded_count"] == 0


async def test_a_channel_that_booked_twice_settles_once(
    sandbox_world: World, sandbox: httpx2.AsyncClient
) -> None:
    """The second booking shows only in the channel's bill: reconciliation finds it."""
    world = sandbox_world
    await inject(sandbox, "duplicate", count=1)
    order_id = await world.open()

    await world.run_to_the_end()

    assert (await world.order(order_id))["status"] == "SETTLED"
    assert await world.told_types() == ["PaymentSettled"]
