"""After a full run no phone, code or token lies anywhere in clear.

Looked at: logs, topics, Redis keys and values, metrics, every row of every database. The
sandbox's own store is the outside world.
"""

import base64
import re
from collections.abc import AsyncIterator, Iterator

import httpx2
import psycopg
from psycopg import sql
from redis.asyncio import Redis

from devstack.stack import Stack
from testing.eventually import eventually
from tests.integration.support.people import People, Person, new_phone
from tests.integration.support.topics import read_all


async def test_no_phone_code_or_token_lies_anywhere_in_clear(
    stack: Stack, people: People, http: httpx2.AsyncClient
) -> None:
    phone = new_phone()
    session = await people.session(phone)
    code = await people.code_sent_to(phone)
    token = session["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    renewed = await http.post(
        "/identity/v1/sessions/refresh", json={"refresh_token": session["refresh_token"]}
    )
    # Mistakes are logged too: a wrong code, a phone where none belongs, a token in the query.
    await http.post("/identity/v1/sessions", json={"request_id": phone, "code": code})
    await http.get(f"/billing/v1/coverage?region={phone}&scheme=flexible&token={token}")
    await http.get(f"/payment/v1/orders/{phone}", headers=headers)
    person = await people.logged_in()
    contribution = await person.assess()
    order = (await person.pay(contribution["id"]))["payment_order_id"]
    await person.until_status(contribution["id"], "paid")
    ticket = (await person.call("POST", f"/payment/v1/orders/{order}/stream-tickets")).json()
    await http.get(f"/payment/v1/orders/{order}/events?ticket={ticket['ticket']}")
    await _until_sms_delivered(person)

    assert person.phone is not None
    assert renewed.status_code == 200, renewed.text
    canaries = {
        "phone": phone,
        "other phone": person.phone,
        "access token": token,
        "refresh token": session["refresh_token"],
        "new refresh token": renewed.json()["refresh_token"],
        "ticket": ticket["ticket"],
    }
    found = [
        f"{name} in {place}"
        for place, content in [*_logs(stack), *_topics(stack), *_databases(stack)]
        for name in _seen(content, canaries, code)
    ]
    async for place, content in _redis(stack):
        found += [f"{name} in {place}" for name in _seen(content, canaries, code)]
    async for place, content in _metrics(stack):
        found += [f"{name} in {place}" for name in _seen(content, canaries, code)]
    assert found == []


def test_the_search_itself_finds_what_is_planted() -> None:
    canaries = {"phone": "+8619912345678"}

    for planted in (
        "to=+8619912345678",
        "19912345678",
        base64.b64encode(b"+8619912345678").decode(),
        b"+8619912345678".hex(),
    ):
        assert _seen(f"before {planted} after", canaries, "424242") == ["phone"], planted
    assert _seen("the code is 424242.", canaries, "424242") == ["code"]
    assert _seen("2026-11-24T01:02:03.424242Z and 9424242", canaries, "424242") == []


def _seen(content: str, canaries: dict[str, str], code: str) -> list[str]:
    seen = [
        name for name, value in canaries.items() if any(form in content for form in _forms(value))
    ]
    # Six digits occur by chance inside ids and fractions of seconds, but not standing alone.
    if re.search(rf"(?<![0-9A-Za-z.\-]){code}(?![0-9A-Za-z\-])", content):
        seen.append("code")
    return seen


def _forms(value: str) -> set[str]:
    raw = value.encode()
    return {
        value,
        value.removeprefix("+86"),
        raw.hex(),
        base64.b64encode(raw).decode().rstrip("="),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
    }


def _logs(stack: Stack) -> Iterator[tuple[str, str]]:
    for file in (stack.state_dir / "logs").glob("*.log"):
        # The sandbox's own log belongs to the outside world.
        if file.stem != "sandbox":
            yield f"log {file.name}", file.read_text(errors="replace")


def _topics(stack: Stack) -> Iterator[tuple[str, str]]:
    kafka = stack.plan().kafka_bootstrap_servers
    for topic in ("billing.contributions", "payment.orders", "identity.people"):
        for record in read_all(kafka, topic):
            headers = b" ".join(name.encode() + b"=" + value for name, value in record.headers)
            content = b" ".join((record.key or b"", headers, record.value or b""))
            yield f"topic {topic}", content.decode(errors="replace")


def _databases(stack: Stack) -> Iterator[tuple[str, str]]:
    tables = (
        "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE n.nspname = 'public' AND relkind IN ('r', 'p')"
    )
    for service, url in stack.databases.items():
        with psycopg.connect(url) as connection:
            for (table,) in connection.execute(tables.encode()).fetchall():
                query = sql.SQL("SELECT CAST(t AS text) FROM {} t").format(sql.Identifier(table))
                for (row,) in connection.execute(query):
                    yield f"database {service}.{table}", row


async def _redis(stack: Stack) -> AsyncIterator[tuple[str, str]]:
    client = Redis.from_url(stack.plan().redis_url)
    try:
        async for key in client.scan_iter(count=1000):
            dumped = await client.dump(key)
            yield "redis key", key.decode(errors="replace")
            yield "redis value", (dumped or b"").decode("latin-1")
    finally:
        await client.aclose()


async def _metrics(stack: Stack) -> AsyncIterator[tuple[str, str]]:
    async with httpx2.AsyncClient(trust_env=False) as client:
        for process, url in stack.metrics.items():
            yield f"metrics of {process}", (await client.get(f"{url}/metrics")).text


async def _until_sms_delivered(person: Person) -> None:
    async def delivered() -> bool:
        items = (await person.get("/notifier/v1/notifications"))["items"]
        assert any(item["sms"] and item["sms"]["status"] == "delivered" for item in items)
        return True

    await eventually(delivered)
