"""What cannot be paid is refused when it is asked: no order, and nobody is written to."""

import asyncio
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import psycopg
import pytest

from devstack.stack import Stack
from testing.eventually import eventually
from tests.integration.support.people import People, Person

REQUESTS = "SELECT count(*) FROM payment_request WHERE contribution_id = %s"
# Payment looks every two seconds, then a relay and a consumer; and the machine may be busy.
KNOWN_SECONDS = 30.0
# What is accepted meanwhile ends by itself at a direct channel.
SWITCHED = "bank-direct-debit"


@pytest.fixture
def stopped(stack: Stack) -> Iterator[str]:
    """A channel whose kill switch is turned; turned back at the end, if the test did not."""
    _turn(stack, "stop", SWITCHED)
    yield SWITCHED
    _turn(stack, "start", SWITCHED)


async def test_fifty_requests_for_a_channel_that_does_not_exist(
    stack: Stack, people: People
) -> None:
    person = people.somebody()
    contribution_id = (await person.assess())["id"]

    answers = await asyncio.gather(
        *(_ask(person, contribution_id, "no-such-channel") for _ in range(50))
    )

    assert [answer.status_code for answer in answers] == [422] * 50
    assert {answer.json()["code"] for answer in answers} == {"channel_unknown"}
    assert answers[0].json()["detail"] == "没有这种付款方式。"
    assert _requests(stack, contribution_id) == 0
    # What came before would be in front of this in the log and in the inbox.
    await person.pay(contribution_id)
    await person.until_status(contribution_id, "paid")
    assert _requests(stack, contribution_id) == 1

    async def told() -> bool:
        found = (await person.get("/notifier/v1/notifications"))["items"]
        kinds = sorted(item["kind"] for item in found)
        assert kinds == ["contribution_assessed", "payment_requested", "payment_settled"]
        return True

    await eventually(told)


async def test_a_channel_that_was_stopped_is_refused_until_it_starts_again(
    stack: Stack, people: People, stopped: str
) -> None:
    async def refused() -> tuple[Person, str, httpx2.Response]:
        """Each time another person: what is not known yet is accepted."""
        person = people.somebody()
        contribution_id = (await person.assess())["id"]
        answer = await _ask(person, contribution_id, stopped, language="en")
        assert answer.status_code == 503, answer.text
        return person, contribution_id, answer

    person, contribution_id, answer = await eventually(refused, KNOWN_SECONDS)

    problem = answer.json()
    assert problem["code"] == "channel_stopped"
    detail = problem["detail"]
    assert "Bank direct debit takes no new payments at the moment. Nothing was charged." in detail
    assert answer.headers["Retry-After"] == "60"
    assert _requests(stack, contribution_id) == 0
    assert (await person.contribution(contribution_id))["status"] == "assessed"

    _turn(stack, "start", stopped)

    async def accepted() -> bool:
        again = await _ask(person, contribution_id, stopped)
        assert again.status_code == 202, again.text
        return True

    await eventually(accepted, KNOWN_SECONDS)
    await person.until_status(contribution_id, "paid")


async def _ask(
    person: Person, contribution_id: str, channel: str, *, language: str = "zh"
) -> httpx2.Response:
    return await person.call(
        "POST",
        f"/billing/v1/contributions/{contribution_id}/payment",
        key=str(uuid.uuid4()),
        json={"channel": channel},
        headers={"Accept-Language": language},
    )


def _turn(stack: Stack, action: str, channel: str) -> None:
    who = ("--by", "a test", "--why", "a test")
    done: subprocess.CompletedProcess[str] = stack.run("payment", "channels", action, channel, *who)
    assert done.returncode == 0, done.stderr


def _requests(stack: Stack, contribution_id: str) -> int:
    with psycopg.connect(stack.databases["billing"]) as connection:
        row: Any = connection.execute(REQUESTS, (contribution_id,)).fetchone()
        return int(row[0])
