"""Sending codes: limits that hold under load, the same answer for everybody, and true failures."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from services.identity.adapters.sms.gateway import TEXTS
from services.identity.settings import ApiSettings
from services.identity.tests.running_identity import (
    PREFIX,
    Identity,
    new_phone,
    other_code,
    running_identity,
)
from shared.kernel.clock import SystemClock
from shared.runtime.database.asyncpg_pool import AsyncpgConnection
from shared.runtime.database.statements import Rows, Statement
from testing.child import free_port
from testing.clock import FixedClock
from testing.eventually import eventually

HOUR_SECONDS = 60 * 60


async def test_a_code_is_sent_by_sms(identity: Identity) -> None:
    phone = new_phone()

    answer = await identity.ask(phone)

    assert answer.status_code == 202
    assert set(answer.json()) == {"request_id", "expires_in", "resend_after_seconds"}
    assert (answer.json()["expires_in"], answer.json()["resend_after_seconds"]) == (300, 60)
    [message] = await identity.messages_to(phone)
    code = await identity.code_sent_to(phone)
    assert message["text"] == TEXTS["login_code_zh"].format(code=code, minutes=5)
    assert len(message["text"]) <= 70
    assert message["template"] == "login_code_zh"


async def test_the_sms_is_in_english_for_who_asks_for_it(identity: Identity) -> None:
    phone = new_phone()

    await identity.ask(phone, **{"Accept-Language": "en-GB,en;q=0.9"})

    [message] = await identity.messages_to(phone)
    assert message["text"].startswith("[Songhe]")


async def test_ten_requests_at_once_for_one_phone_send_one_sms(identity: Identity) -> None:
    phone = new_phone()

    answers = await asyncio.gather(*(identity.ask(phone) for _ in range(10)))

    assert sorted(answer.status_code for answer in answers) == [202] + [429] * 9
    assert len(await identity.messages_to(phone)) == 1


async def test_a_resend_has_to_wait_and_is_told_how_long(identity: Identity) -> None:
    phone = new_phone()
    await identity.asked(phone)

    too_soon = await identity.ask(phone)
    await identity.let_pass(59)
    still_too_soon = await identity.ask(phone)
    await identity.let_pass(1)
    in_time = await identity.ask(phone)

    assert (too_soon.status_code, too_soon.json()["code"]) == (429, "sms_resend_too_soon")
    assert 55 <= int(too_soon.headers["Retry-After"]) <= 60
    assert still_too_soon.headers["Retry-After"] == "1"
    assert in_time.status_code == 202
    assert len(await identity.messages_to(phone)) == 2


async def test_a_phone_gets_five_codes_in_an_hour_and_ten_in_a_day(identity: Identity) -> None:
    phone = new_phone()

    async def send(count: int) -> None:
        for _ in range(count):
            assert (await identity.ask(phone)).status_code == 202
            await identity.let_pass(60)

    await send(5)
    sixth = await identity.ask(phone)
    await identity.let_pass(HOUR_SECONDS)
    await send(5)
    await identity.let_pass(HOUR_SECONDS)
    eleventh = await identity.ask(phone)

    assert (sixth.status_code, sixth.json()["code"]) == (429, "sms_limit_reached")
    assert 54 * 60 <= int(sixth.headers["Retry-After"]) <= 55 * 60
    assert (eleventh.status_code, eleventh.json()["code"]) == (429, "sms_limit_reached")
    assert int(eleventh.headers["Retry-After"]) > 20 * HOUR_SECONDS
    assert len(await identity.messages_to(phone)) == 10


async def test_the_budget_of_an_address_counts_all_its_phones(
    settings: ApiSettings, redis: Redis, sandbox: httpx2.AsyncClient, keys: Path
) -> None:
    few = settings.model_copy(update={"sms_per_address_hourly_max": 3})

    async with running_identity(few, redis=redis, sandbox=sandbox, keys=keys) as identity:
        answers = await asyncio.gather(
            *(identity.ask(new_phone(), **{"X-Forwarded-For": "203.0.113.9"}) for _ in range(6))
        )
        elsewhere = await identity.ask(new_phone(), **{"X-Forwarded-For": "203.0.113.10"})

    assert sorted(answer.status_code for answer in answers) == [202] * 3 + [429] * 3
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["code"] == "sms_address_limit_reached"
    assert int(refused.headers["Retry-After"]) > 3500
    assert elsewhere.status_code == 202


async def test_ports_behind_addresses_do_not_make_everybody_the_proxy(
    settings: ApiSettings, redis: Redis, sandbox: httpx2.AsyncClient, keys: Path
) -> None:
    one_each = settings.model_copy(update={"sms_per_address_hourly_max": 1})

    async with running_identity(one_each, redis=redis, sandbox=sandbox, keys=keys) as identity:
        others = [
            await identity.ask(new_phone(), **{"X-Forwarded-For": address})
            for address in ("203.0.113.7:51234", "203.0.113.8:51234", "[2001:db8::7]:51234")
        ]
        again = await identity.ask(new_phone(), **{"X-Forwarded-For": "203.0.113.7:60000"})

    assert [answer.status_code for answer in others] == [202] * 3
    assert again.json()["code"] == "sms_address_limit_reached"


async def test_a_client_cannot_choose_its_address(
    settings: ApiSettings, redis: Redis, sandbox: httpx2.AsyncClient, keys: Path
) -> None:
    nobody_trusted = settings.model_copy(
        update={"sms_per_address_hourly_max": 1, "trusted_proxies": ""}
    )

    async with running_identity(
        nobody_trusted, redis=redis, sandbox=sandbox, keys=keys
    ) as identity:
        first = await identity.ask(new_phone(), **{"X-Forwarded-For": "203.0.113.9"})
        second = await identity.ask(new_phone(), **{"X-Forwarded-For": "203.0.113.10"})

    assert (first.status_code, second.status_code) == (202, 429)


async def test_the_daily_cap_holds_under_parallel_requests_and_opens_an_item(
    settings: ApiSettings, redis: Redis, sandbox: httpx2.AsyncClient, keys: Path
) -> None:
    tomorrow = FixedClock(SystemClock().now() + timedelta(days=1))
    few = settings.model_copy(update={"sms_daily_max": 4})

    async with running_identity(
        few, redis=redis, sandbox=sandbox, keys=keys, clock=tomorrow
    ) as identity:
        phones = [new_phone() for _ in range(9)]
        answers = await asyncio.gather(*(identity.ask(phone) for phone in phones))
        tomorrow.advance(timedelta(days=1))
        refused_phone = next(
            phone
            for phone, answer in zip(phones, answers, strict=True)
            if answer.status_code == 429
        )
        next_day = await identity.ask(refused_phone)
        items = await identity.rows(
            "SELECT kind FROM operator_item WHERE kind = 'sms_budget_used_up'"
        )

    codes = [answer.json().get("code") for answer in answers]
    assert codes.count(None) == 4
    assert codes.count("sms_daily_limit_reached") == 5
    assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 429)
    assert next_day.status_code == 202, "a refused request must not count against the phone"
    assert len(items) == 1


@pytest.mark.parametrize(
    ("phone", "code"),
    [("13800138000", "phone_malformed"), ("+12025550123", "phone_country_not_served")],
)
async def test_a_number_that_is_not_served_gets_no_sms(
    identity: Identity, phone: str, code: str
) -> None:
    answer = await identity.ask(phone)

    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert await identity.messages_to(phone) == []
    assert await identity.redis.dbsize() == 0


async def test_problems_are_told_in_chinese_unless_english_is_asked_for(
    identity: Identity,
) -> None:
    chinese = await identity.ask("+861")
    english = await identity.ask("+861", **{"Accept-Language": "en"})

    assert chinese.json()["detail"].startswith("手机号")
    assert english.json()["detail"].startswith("This is not a mobile number")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"phone": "+8613800138000"},
        {"phone": "+8613800138000", "purpose": "payment"},
        {"phone": "+8613800138000", "purpose": "login", "more": 1},
        {"phone": 13800138000, "purpose": "login"},
        {"phone": "+86138\u00000138000", "purpose": "login"},
        [],
        None,
    ],
)
async def test_a_body_that_does_not_fit_is_refused(identity: Identity, body: object) -> None:
    answer = await identity.http.post(f"{PREFIX}/sms-codes", json=body)

    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_request"


async def test_known_and_unknown_phones_get_the_same_answer_for_the_same_work(
    identity: Identity,
) -> None:
    known, unknown = new_phone(), new_phone()
    await identity.logged_in(known)
    await identity.let_pass(60)

    with statements() as work_for_known:
        answer_for_known = await identity.ask(known)
    with statements() as work_for_unknown:
        answer_for_unknown = await identity.ask(unknown)

    assert shape(answer_for_known) == shape(answer_for_unknown)
    assert work_for_known
    assert work_for_known == work_for_unknown
    assert not any("person" in statement for statement in work_for_known)


async def test_no_database_connection_is_held_while_the_gateway_is_called(
    identity: Identity,
) -> None:
    await identity.fault("slow", count=1, delay_ms=500)
    sending = asyncio.create_task(identity.ask(new_phone()))

    async def gateway_holds_the_call() -> bool:
        listed = (await identity.sandbox.get("/sandbox/v1/faults")).json()
        return bool(listed["held_count"])

    await eventually(gateway_holds_the_call)
    held = identity.database.pool.held_count

    assert held == 0
    assert (await sending).status_code == 202


async def test_a_gateway_that_answers_an_error_leaves_the_way_free_for_the_next_try(
    identity: Identity,
) -> None:
    phone = new_phone()
    await identity.fault("error_500_after_booking", count=1)

    failed = await identity.ask(phone)
    code_of_no_use = await identity.code_sent_to(phone)
    [request_key] = [key async for key in identity.redis.scan_iter("identity:code-request:*")]
    tried = await identity.enter(request_key.decode().rpartition(":")[2], code_of_no_use)
    again = await identity.ask(phone)

    assert (failed.status_code, failed.json()["code"]) == (503, "sms_unavailable")
    assert "Retry-After" in failed.headers
    assert tried.json()["code"] == "code_expired", "nobody was told of this code"
    assert again.status_code == 202


async def test_a_gateway_that_is_not_there_costs_neither_wait_nor_budget(
    settings: ApiSettings, redis: Redis, sandbox: httpx2.AsyncClient, keys: Path
) -> None:
    nowhere = settings.model_copy(update={"sms_url": f"http://127.0.0.1:{free_port()}"})
    phone = new_phone()

    async with running_identity(nowhere, redis=redis, sandbox=sandbox, keys=keys) as identity:
        answers = [await identity.ask(phone) for _ in range(7)]
        [budget] = await identity.rows("SELECT sum(sent_count) AS sent FROM sms_budget")

    assert {answer.json()["code"] for answer in answers} == {"sms_unavailable"}
    async with running_identity(settings, redis=redis, sandbox=sandbox, keys=keys) as identity:
        assert (await identity.ask(phone)).status_code == 202
        [after] = await identity.rows("SELECT sum(sent_count) AS sent FROM sms_budget")
    assert after.sent == budget.sent + 1


async def test_a_gateway_that_does_not_answer_in_time_may_still_have_sent_the_code(
    identity: Identity,
) -> None:
    phone = new_phone()
    await identity.fault("timeout_after_booking", count=1)

    answer = await identity.ask(phone)

    assert answer.status_code == 202
    entered = await identity.enter(answer.json()["request_id"], await identity.code_sent_to(phone))
    assert entered.status_code == 201


@pytest.mark.parametrize("is_silent", [False, True], ids=["refused", "silent"])
async def test_without_redis_logging_in_is_503_and_open_sessions_work(
    identity: Identity,
    settings: ApiSettings,
    redis: Redis,
    keys: Path,
    is_silent: bool,
) -> None:
    session = await identity.logged_in()

    async with redis_that_is_gone(is_silent=is_silent) as url:
        broken = settings.model_copy(update={"redis_url": SecretStr(url)})
        async with running_identity(
            broken, redis=redis, sandbox=identity.sandbox, keys=keys
        ) as without_redis:
            asked = await without_redis.ask(new_phone())
            entered = await without_redis.enter(
                "0198f6f4-0000-4000-8000-000000000000", other_code("123456")
            )
            me = await without_redis.me(session)
            refreshed = await without_redis.refresh(session["refresh_token"])

    for answer in (asked, entered):
        assert (answer.status_code, answer.json()["code"]) == (503, "codes_unavailable")
        assert "Retry-After" in answer.headers
    assert (me.status_code, refreshed.status_code) == (200, 200)


async def test_lost_scripts_are_loaded_again(identity: Identity) -> None:
    await identity.logged_in()

    await identity.redis.script_flush()

    assert (await identity.logged_in())["token_type"] == "Bearer"


def shape(answer: httpx2.Response) -> tuple[int, dict[str, str], dict[str, object]]:
    """Status, headers and body without what is new each time."""
    headers = {name: value for name, value in answer.headers.items() if name != "x-correlation-id"}
    body = json.loads(answer.content)
    assert body.pop("request_id")
    return answer.status_code, headers, body


@contextmanager
def statements() -> Iterator[list[str]]:
    """Every SQL statement of the block."""
    seen: list[str] = []
    execute = AsyncpgConnection.execute

    async def note(
        self: AsyncpgConnection, statement: Statement, values: Mapping[str, Any] | None = None, /
    ) -> Rows:
        seen.append(statement.text)
        return await execute(self, statement, values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AsyncpgConnection, "execute", note)
        yield seen


@asynccontextmanager
async def redis_that_is_gone(*, is_silent: bool) -> AsyncIterator[str]:
    """The URL of a server that refuses connections, or takes them and never answers."""
    if not is_silent:
        yield f"redis://127.0.0.1:{free_port()}/0"
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
