"""A time-out is not a failure: the truth is found by asking."""

from devstack.stack import Stack
from testing.eventually import eventually
from tests.integration.support.people import People
from tests.integration.support.sandbox import Sandbox
from tests.integration.support.topics import read_all


async def test_a_charge_that_times_out_is_never_failed_and_charged_once(
    stack: Stack, people: People, sandbox: Sandbox
) -> None:
    person = people.somebody()
    contribution = await person.assess()
    before = await sandbox.book()
    await sandbox.fault("bank", "timeout_after_booking", count=1)

    order = await person.pay(contribution["id"])
    seen: set[str] = set()

    async def paid() -> bool:
        status = (await person.contribution(contribution["id"]))["status"]
        seen.add(status)
        assert status == "paid", status
        return True

    await eventually(paid, within_seconds=40)

    assert seen <= {"payment_pending", "paid"}
    after = await sandbox.book()
    assert after["succeeded_count"] - before["succeeded_count"] == 1
    settled = await person.get(f"/payment/v1/orders/{order['payment_order_id']}")
    assert settled["status"] == "settled"
    records = read_all(stack.plan().kafka_bootstrap_servers, "payment.orders")
    mine = [r.header("ce_type") for r in records if r.key == str(person.id).encode()]
    assert set(mine) == {"PaymentSettled"}


async def test_while_unknown_the_person_is_told_not_to_pay_again(
    people: People, sandbox: Sandbox
) -> None:
    person = people.somebody()
    contribution = await person.assess()
    await sandbox.fault("bank", "timeout_before_booking", count=1)

    order = await person.pay(contribution["id"])

    async def says_unknown() -> bool:
        answer = await person.call("GET", f"/payment/v1/orders/{order['payment_order_id']}")
        assert answer.status_code == 200, answer.text
        words = answer.json()["status_for_person"]
        assert "请不要再付" in words["headline"], words
        assert words["next_update_by"], words
        assert words["can_pay"] is False
        return True

    await eventually(says_unknown, within_seconds=20)
    await person.until_status(contribution["id"], "paid", within_seconds=40)


async def test_a_declined_charge_leaves_the_bill_payable(people: People, sandbox: Sandbox) -> None:
    person = people.somebody()
    contribution = await person.assess()
    await sandbox.fault("bank", "decline", count=1)

    first = await person.pay(contribution["id"])

    async def declined() -> bool:
        answer = await person.call("GET", f"/payment/v1/orders/{first['payment_order_id']}")
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == "failed", answer.text
        return True

    await eventually(declined)
    await person.until_status(contribution["id"], "assessed")
    second = await person.pay(contribution["id"])
    assert second["payment_order_id"] != first["payment_order_id"]
    await person.until_status(contribution["id"], "paid")
