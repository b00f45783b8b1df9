"""Entering codes: one right answer wins, five wrong ones end it, and nothing else works."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import httpx2
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from services.identity.adapters.http.api import Parts
from services.identity.adapters.postgres.unit import IdentityUnit
from services.identity.application.open_session import open_session
from services.identity.domain.phone import Phone
from services.identity.settings import ApiSettings
from services.identity.tests.running_identity import (
    PREFIX,
    Identity,
    bearer,
    new_phone,
    other_code,
    running_identity,
)


async def test_the_right_code_opens_a_session(identity: Identity) -> None:
    phone = new_phone()

    session = await identity.logged_in(phone)

    assert set(session) == {
        "access_token",
        "token_type",
        "expires_in",
        "refresh_token",
        "insured_person_id",
    }
    assert (session["token_type"], session["expires_in"]) == ("Bearer", 900)
    me = await identity.me(session)
    assert me.status_code == 200
    assert me.json()["insured_person_id"] == session["insured_person_id"]
    assert me.json()["phone_masked"] == f"138****{phone[-4:]}"
    assert me.headers["cache-control"] == "no-store"


async def test_the_same_phone_is_the_same_person(identity: Identity) -> None:
    phone = new_phone()

    first = await identity.logged_in(phone)
    await identity.let_pass(60)
    second = await identity.logged_in(phone)

    assert first["insured_person_id"] == second["insured_person_id"]
    assert first["refresh_token"] != second["refresh_token"]


async def test_of_parallel_right_answers_exactly_one_wins(identity: Identity) -> None:
    phone = new_phone()
    request_id, code = await identity.asked(phone)

    answers = await asyncio.gather(*(identity.enter(request_id, code) for _ in range(8)))

    assert sorted(answer.status_code for answer in answers) == [201] + [422] * 7
    [sessions] = await identity.rows("SELECT count(*) AS opened FROM session")
    losers = {answer.json()["code"] for answer in answers if answer.status_code == 422}
    assert losers == {"code_expired"}
    winner = next(answer for answer in answers if answer.status_code == 201).json()
    [own] = await identity.rows(
        "SELECT count(*) AS opened FROM session WHERE person_id = CAST(:person AS uuid)",
        person=winner["insured_person_id"],
    )
    assert own.opened == 1 <= sessions.opened


async def test_parallel_first_log_ins_with_one_phone_make_one_person(identity: Identity) -> None:
    phone = Phone(new_phone())
    parts: Parts = identity.app.state.parts

    async def log_in() -> UUID:
        async with identity.database.transaction() as unit:
            tokens = await open_session(
                IdentityUnit(unit),
                phone,
                vault=parts.vault,
                access_tokens=parts.access_tokens,
                clock=parts.clock,
            )
        return tokens.insured_person_id

    people = await asyncio.gather(*(log_in() for _ in range(8)))

    assert len(set(people)) == 1


async def test_after_five_wrong_tries_the_right_code_does_not_work(identity: Identity) -> None:
    request_id, code = await identity.asked(new_phone())

    wrong = [await identity.enter(request_id, other_code(code)) for _ in range(5)]
    right = await identity.enter(request_id, code)

    assert [answer.status_code for answer in wrong] == [422] * 5
    told = [(answer.json()["code"], answer.json().get("tries_left")) for answer in wrong]
    assert told == [("code_wrong", left) for left in (4, 3, 2, 1)] + [("code_expired", None)]
    assert (right.status_code, right.json()["code"]) == (422, "code_expired")


async def test_fifty_parallel_guesses_get_five_tries(identity: Identity) -> None:
    request_id, code = await identity.asked(new_phone())
    wrong = [f"{(int(code) + step) % 10**6:06}" for step in range(1, 51)]

    answers = await asyncio.gather(*(identity.enter(request_id, guess) for guess in wrong))

    told = sorted(answer.json().get("tries_left", 0) for answer in answers)
    assert told == [0] * 46 + [1, 2, 3, 4]
    assert (await identity.enter(request_id, code)).json()["code"] == "code_expired"


async def test_four_wrong_tries_do_not_spoil_the_right_one(identity: Identity) -> None:
    request_id, code = await identity.asked(new_phone())

    for _ in range(4):
        await identity.enter(request_id, other_code(code))

    assert (await identity.enter(request_id, code)).status_code == 201


async def test_a_used_code_does_not_work_again(identity: Identity) -> None:
    request_id, code = await identity.asked(new_phone())
    await identity.enter(request_id, code)

    again = await identity.enter(request_id, code)

    assert (again.status_code, again.json()["code"]) == (422, "code_expired")


async def test_a_resend_voids_the_code_before(identity: Identity) -> None:
    phone = new_phone()
    first_id, first_code = await identity.asked(phone)
    await identity.let_pass(60)
    second_id, second_code = await identity.asked(phone)

    old = await identity.enter(first_id, first_code)
    crossed = await identity.enter(first_id, second_code)
    new = await identity.enter(second_id, second_code)

    assert (old.json()["code"], crossed.json()["code"]) == ("code_expired", "code_expired")
    assert new.status_code == 201


async def test_a_code_works_only_for_the_request_that_it_was_sent_for(identity: Identity) -> None:
    own_id, _ = await identity.asked(new_phone())
    _, foreign_code = await identity.asked(new_phone())

    answer = await identity.enter(own_id, foreign_code)

    assert answer.json()["code"] == "code_wrong"


async def test_a_request_that_never_was_looks_like_an_expired_one(identity: Identity) -> None:
    request_id, code = await identity.asked(new_phone())
    await identity.enter(request_id, code)

    used = await identity.enter(request_id, code)
    invented = await identity.enter("0198f6f4-0000-4000-8000-000000000000", code)

    assert invented.status_code == used.status_code
    assert invented.json() == used.json()


async def test_after_redis_was_flushed_people_are_told_to_ask_for_a_new_code(
    identity: Identity,
) -> None:
    phone = new_phone()
    request_id, code = await identity.asked(phone)
    await identity.redis.flushdb()

    answer = await identity.enter(request_id, code)

    assert (answer.status_code, answer.json()["code"]) == (422, "code_expired")
    assert "重新获取" in answer.json()["detail"]
    assert (await identity.logged_in(phone))["insured_person_id"]


async def test_everything_about_a_code_is_gone_after_five_minutes(identity: Identity) -> None:
    await identity.asked(new_phone())

    lifetimes = [
        await identity.redis.pttl(key) async for key in identity.redis.scan_iter("identity:code*")
    ]

    assert len(lifetimes) == 2
    assert all(290_000 < lifetime <= 300_000 for lifetime in lifetimes)


@pytest.mark.parametrize(
    "changes",
    [
        {"code": "12345"},
        {"code": "1234567"},
        {"code": "12345a"},
        {"code": "１２３４５６"},
        {"code": "123456\n"},
        {"code": 123456},
        {"request_id": "x"},
        {"request_id": None},
        {"phone": "+8613800138000"},
    ],
)
async def test_what_is_no_code_costs_no_try(identity: Identity, changes: dict[str, object]) -> None:
    request_id, code = await identity.asked(new_phone())

    refused = [
        await identity.http.post(
            f"{PREFIX}/sessions", json={"request_id": request_id, "code": code} | changes
        )
        for _ in range(6)
    ]

    assert {answer.status_code for answer in refused} == {422}
    assert {answer.json()["code"] for answer in refused} == {"invalid_request"}
    assert (await identity.enter(request_id, code)).status_code == 201


async def test_everything_runs_on_psycopg_as_well(
    service_database: Callable[[str], str],
    settings: ApiSettings,
    redis: Redis,
    sandbox: httpx2.AsyncClient,
    identity: Identity,
) -> None:
    url = service_database("identity").replace("+asyncpg", "+psycopg")
    on_psycopg = settings.model_copy(update={"database_url": SecretStr(url)})

    async with running_identity(
        on_psycopg, redis=redis, sandbox=sandbox, keys=identity.keys
    ) as other:
        session = await other.logged_in()
        refreshed = (await other.refresh(session["refresh_token"])).json()
        me = await other.http.get(f"{PREFIX}/me", headers=bearer(refreshed["access_token"]))
        contact = await other.contact(session["insured_person_id"], other.service_token("notifier"))
        repeated = await other.refresh(session["refresh_token"])
        reused = await other.refresh(session["refresh_token"])

    assert repeated.status_code == 200
    assert (me.status_code, contact.status_code, reused.status_code) == (200, 200, 401)
