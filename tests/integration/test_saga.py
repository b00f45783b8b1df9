"""The main promise: log in, look up, pay, and hear that it is paid."""

import asyncio
import uuid
from collections import Counter

import httpx2

from devstack.stack import Stack
from testing.eventually import eventually
from tests.integration.support.people import BEIJING, People, new_phone
from tests.integration.support.sandbox import Sandbox
from tests.integration.support.topics import read_all


async def test_a_contribution_is_paid_from_login_to_sms(
    stack: Stack, http: httpx2.AsyncClient, people: People, sandbox: Sandbox
) -> None:
    coverage = (await http.get(f"/billing/v1/coverage?region={BEIJING}&scheme=flexible")).json()
    person = await people.logged_in()

    contribution = await person.assess()
    order = await person.pay(contribution["id"])
    paid = await person.until_status(contribution["id"], "paid")

    assert coverage["covered"] is True
    assert contribution["amount_fen"] == 145_400
    assert sum(share["amount_fen"] for share in contribution["shares"]) == 145_400
    assert paid["status_for_person"]["headline"].startswith("已缴费")
    settled = await person.get(f"/payment/v1/orders/{order['payment_order_id']}")
    assert settled["status"] == "settled"
    charges = [item for item in await sandbox.charges() if item["amount_fen"] == 145_400]
    assert charges

    async def told() -> str:
        assert person.phone is not None
        texts = [message["text"] for message in await sandbox.messages_to(person.phone)]
        told_paid: list[str] = [text for text in texts if "1,454.00" in text]
        assert len(told_paid) == 1, texts
        return told_paid[0]

    text = await eventually(told)
    assert "入账" in text

    async def delivered() -> bool:
        inbox = await person.get("/notifier/v1/notifications")
        states = [item["sms"]["status"] for item in inbox["items"] if item.get("sms")]
        assert "delivered" in states, states
        return True

    await eventually(delivered)


async def test_fifty_parallel_payments_with_different_keys_open_one_order(
    stack: Stack, people: People
) -> None:
    person = people.somebody()
    contribution = await person.assess()
    path = f"/billing/v1/contributions/{contribution['id']}/payment"

    answers = await asyncio.gather(
        *(person.call("POST", path, key=str(uuid.uuid4()), json={}) for _ in range(50))
    )

    statuses = Counter(answer.status_code for answer in answers)
    orders = {a.json()["payment_order_id"] for a in answers if a.status_code == 202}
    assert len(orders) == 1, statuses
    # Whoever came after the money did is told so; nobody gets a second order.
    assert set(statuses) <= {202, 409}, statuses
    await person.until_status(contribution["id"], "paid")
    requested = [
        record
        for record in read_all(stack.plan().kafka_bootstrap_servers, "billing.contributions")
        if record.header("ce_type") == "PaymentRequested" and record.key == str(person.id).encode()
    ]
    assert len({record.header("ce_id") for record in requested}) == 1


async def test_fifty_parallel_payments_with_one_key_store_one_answer(people: People) -> None:
    person = people.somebody()
    contribution = await person.assess()
    path = f"/billing/v1/contributions/{contribution['id']}/payment"
    key = str(uuid.uuid4())

    answers = await asyncio.gather(
        *(person.call("POST", path, key=key, json={}) for _ in range(50))
    )
    again = await person.call("POST", path, key=key, json={})

    first = {answer.text for answer in answers if answer.status_code == 202}
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) <= {202, 409}, statuses
    assert {a.json()["code"] for a in answers if a.status_code == 409} <= {"request_in_progress"}
    assert first == {again.text}
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_two_parallel_right_codes_open_one_session(
    people: People, http: httpx2.AsyncClient
) -> None:
    phone = new_phone()
    asked = await http.post("/identity/v1/sms-codes", json={"phone": phone, "purpose": "login"})
    code = await people.code_sent_to(phone)
    body = {"request_id": asked.json()["request_id"], "code": code}

    answers = await asyncio.gather(
        *(http.post("/identity/v1/sessions", json=body) for _ in range(8))
    )

    assert sorted(answer.status_code for answer in answers)[0] == 201
    assert Counter(answer.status_code for answer in answers)[201] == 1
