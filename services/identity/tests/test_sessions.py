"""Sessions: refresh tokens rotate, a copy ends the family, and who logged out is out."""

import asyncio
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from redis.asyncio import Redis

from services.identity.settings import ApiSettings
from services.identity.tests.running_identity import PREFIX, Identity, running_identity
from shared.kernel.clock import SystemClock
from testing.clock import FixedClock

DAY = timedelta(days=1)


async def test_a_refresh_gives_a_new_pair_for_the_same_person(identity: Identity) -> None:
    session = await identity.logged_in()

    answer = await identity.refresh(session["refresh_token"])

    assert answer.status_code == 200
    refreshed = answer.json()
    assert set(refreshed) == set(session)
    assert refreshed["insured_person_id"] == session["insured_person_id"]
    assert refreshed["refresh_token"] != session["refresh_token"]
    assert (await identity.me(refreshed)).status_code == 200


async def test_a_chain_of_refreshes_goes_on(identity: Identity) -> None:
    session = await identity.logged_in()

    for _ in range(5):
        session = (await identity.refresh(session["refresh_token"])).json()

    assert (await identity.me(session)).status_code == 200


async def test_a_used_refresh_token_ends_the_whole_family(identity: Identity) -> None:
    first = await identity.logged_in()
    second = (await identity.refresh(first["refresh_token"])).json()
    second = (await identity.refresh(second["refresh_token"])).json()

    reuse = await identity.refresh(first["refresh_token"])

    assert (reuse.status_code, reuse.json()["code"]) == (401, "session_ended")
    assert "WWW-Authenticate" in reuse.headers
    heir = await identity.refresh(second["refresh_token"])
    assert (heir.status_code, heir.json()["code"]) == (401, "session_ended")
    me = await identity.me(second)
    assert (me.status_code, me.json()["code"]) == (401, "session_ended")


async def test_reuse_in_one_session_leaves_the_others_of_the_person(identity: Identity) -> None:
    one = await identity.logged_in("+8613800138000")
    await identity.let_pass(60)
    other = await identity.logged_in("+8613800138000")
    successor = (await identity.refresh(one["refresh_token"])).json()
    await identity.refresh(successor["refresh_token"])

    await identity.refresh(one["refresh_token"])

    assert (await identity.me(one)).status_code == 401
    assert (await identity.me(other)).status_code == 200


async def test_of_parallel_refreshes_one_wins_and_the_family_lives(identity: Identity) -> None:
    session = await identity.logged_in()

    answers = await asyncio.gather(*(identity.refresh(session["refresh_token"]) for _ in range(6)))

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5
    losers = [answer for answer in answers if answer.status_code == 409]
    assert {answer.json()["code"] for answer in losers} == {"refresh_in_progress"}
    assert all("refresh_token" not in answer.json() for answer in losers)
    winner = next(answer for answer in answers if answer.status_code == 200).json()
    assert (await identity.refresh(winner["refresh_token"])).status_code == 200


async def test_who_lost_the_answer_of_a_refresh_gets_another_once(identity: Identity) -> None:
    first = await identity.logged_in()
    lost = (await identity.refresh(first["refresh_token"])).json()

    again = await identity.refresh(first["refresh_token"])

    assert again.status_code == 200
    found = again.json()
    assert found["refresh_token"] not in (lost["refresh_token"], first["refresh_token"])
    assert (await identity.me(found)).status_code == 200
    heir = await identity.refresh(found["refresh_token"])
    assert heir.status_code == 200
    # That token's own answer may get lost as well.
    assert (await identity.refresh(found["refresh_token"])).status_code == 200


@pytest.mark.parametrize("shown", ["the same again", "the one in the lost answer", "an older one"])
async def test_after_a_lost_answer_anything_else_ends_the_family(
    identity: Identity, shown: str
) -> None:
    older = await identity.logged_in()
    last = (await identity.refresh(older["refresh_token"])).json()
    lost = (await identity.refresh(last["refresh_token"])).json()
    found = (await identity.refresh(last["refresh_token"])).json()
    tokens = {"the same again": last, "the one in the lost answer": lost, "an older one": older}

    refused = await identity.refresh(tokens[shown]["refresh_token"])

    assert (refused.status_code, refused.json()["code"]) == (401, "session_ended")
    assert (await identity.refresh(found["refresh_token"])).status_code == 401
    assert (await identity.me(found)).status_code == 401


async def test_of_parallel_retries_after_a_lost_answer_one_wins_and_the_family_lives(
    identity: Identity,
) -> None:
    first = await identity.logged_in()
    await identity.refresh(first["refresh_token"])

    answers = await asyncio.gather(*(identity.refresh(first["refresh_token"]) for _ in range(4)))

    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    winner = next(answer for answer in answers if answer.status_code == 200).json()
    assert (await identity.refresh(winner["refresh_token"])).status_code == 200


@pytest.mark.parametrize(("seconds", "status"), [(29, 200), (30, 401)])
async def test_a_lost_answer_is_given_again_for_thirty_seconds(
    settings: ApiSettings,
    redis: Redis,
    sandbox: httpx2.AsyncClient,
    keys: Path,
    seconds: int,
    status: int,
) -> None:
    clock = FixedClock(SystemClock().now())
    async with running_identity(
        settings, redis=redis, sandbox=sandbox, keys=keys, clock=clock
    ) as identity:
        session = await identity.logged_in()
        clock.advance(timedelta(seconds=1))
        await identity.refresh(session["refresh_token"])
        clock.advance(timedelta(seconds=seconds))
        late = await identity.refresh(session["refresh_token"])

    assert late.status_code == status


async def test_who_logged_out_is_out(identity: Identity) -> None:
    session = await identity.logged_in()

    first = await identity.log_out(session)
    second = await identity.log_out(session)

    assert (first.status_code, first.content, second.status_code) == (204, b"", 204)
    assert (await identity.me(session)).json()["code"] == "session_ended"
    assert (await identity.refresh(session["refresh_token"])).json()["code"] == "session_ended"


async def test_a_session_that_idles_for_thirty_days_is_over(
    settings: ApiSettings, redis: Redis, sandbox: httpx2.AsyncClient, keys: Path
) -> None:
    clock = FixedClock(SystemClock().now())
    async with running_identity(
        settings, redis=redis, sandbox=sandbox, keys=keys, clock=clock
    ) as identity:
        session = await identity.logged_in()
        clock.advance(30 * DAY - timedelta(seconds=1))
        refreshed = await identity.refresh(session["refresh_token"])
        clock.advance(30 * DAY)
        too_late = await identity.refresh(refreshed.json()["refresh_token"])

    assert refreshed.status_code == 200
    assert (too_late.status_code, too_late.json()["code"]) == (401, "session_ended")


@pytest.mark.parametrize(
    "token", ["A" * 43, "A" * 20, "_-" * 30], ids=["as long as ours", "short", "long"]
)
async def test_an_invented_refresh_token_is_a_session_that_ended(
    identity: Identity, token: str
) -> None:
    answer = await identity.refresh(token)

    assert (answer.status_code, answer.json()["code"]) == (401, "session_ended")


@pytest.mark.parametrize(
    "body",
    [{}, {"refresh_token": ""}, {"refresh_token": "ü" * 43}, {"refresh_token": None}, {"x": 1}],
)
async def test_a_refresh_that_does_not_fit_is_refused(
    identity: Identity, body: dict[str, object]
) -> None:
    answer = await identity.http.post(f"{PREFIX}/sessions/refresh", json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
