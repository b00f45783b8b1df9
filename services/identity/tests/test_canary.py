"""Nothing that tells who somebody is, or opens anything, rests in clear anywhere."""

import asyncio
import base64
from pathlib import Path
from typing import cast

import psycopg
import pytest
from psycopg import sql
from redis.asyncio import Redis
from sqlalchemy.engine import make_url

from services.identity.domain.phone import Phone
from services.identity.settings import ApiSettings
from services.identity.tests.running_identity import (
    Identity,
    new_phone,
    other_code,
    running_identity,
)
from shared.runtime.ground.metrics import render


async def test_redis_database_logs_and_metrics_hold_no_phone_code_or_token(
    identity: Identity, settings: ApiSettings, capfd: pytest.CaptureFixture[str]
) -> None:
    phone = new_phone()
    request_id, code = await identity.asked(phone)
    waiting = await everything_in(identity.redis)
    await identity.enter(request_id, other_code(code))
    session = (await identity.enter(request_id, code)).json()
    refreshed = (await identity.refresh(session["refresh_token"])).json()
    await identity.me(refreshed)
    await identity.contact(session["insured_person_id"], identity.service_token("notifier"))
    await identity.refresh(session["refresh_token"])

    places = {
        "Redis while the code waits": waiting,
        "Redis": await everything_in(identity.redis),
        "database": await asyncio.to_thread(dump, settings),
        "logs": "".join(capfd.readouterr()).encode(),
        "metrics": render(),
    }

    canaries = [phone, phone.removeprefix("+86"), session["refresh_token"]]
    canaries += [session["access_token"], refreshed["access_token"], refreshed["refresh_token"]]
    for place, content in places.items():
        assert content, place
        assert [canary for canary in canaries if holds(content, canary)] == [], place
    for place in ("Redis while the code waits", "Redis", "logs"):
        assert not stands_alone(places[place], code), place


async def test_a_phone_moved_to_another_row_does_not_open_there(identity: Identity) -> None:
    victim, thief = await identity.logged_in(), await identity.logged_in()
    [row] = await identity.rows(
        "UPDATE person SET phone_sealed = (SELECT phone_sealed FROM person"
        " WHERE id = CAST(:victim AS uuid)) WHERE id = CAST(:thief AS uuid) RETURNING id",
        victim=victim["insured_person_id"],
        thief=thief["insured_person_id"],
    )

    answer = await identity.me(thief)

    assert str(row.id) == thief["insured_person_id"]
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "phone" not in answer.text


async def test_a_new_encryption_key_takes_over_at_the_next_log_in(
    identity: Identity, settings: ApiSettings, redis: Redis, keys: Path
) -> None:
    phone = new_phone()
    person_id = (await identity.logged_in(phone))["insured_person_id"]
    await identity.let_pass(60)
    newer = keys / "phone-encryption" / "phone-2.key"
    newer.write_bytes(base64.b64encode(bytes(range(32))))
    sealed = "SELECT phone_sealed FROM person WHERE id = CAST(:person AS uuid)"

    try:
        async with running_identity(
            settings, redis=redis, sandbox=identity.sandbox, keys=keys
        ) as rotated:
            [before] = await rotated.rows(sealed, person=person_id)
            session = await rotated.logged_in(phone)
            [after] = await rotated.rows(sealed, person=person_id)
            me = await rotated.me(session)
    finally:
        newer.unlink()

    assert (b"phone-1" in before.phone_sealed, b"phone-2" in after.phone_sealed) == (True, True)
    assert session["insured_person_id"] == person_id
    assert me.json()["phone_masked"] == Phone(phone).masked


async def everything_in(redis: Redis) -> bytes:
    """All keys and values of the logical database, of whatever type."""
    found: list[bytes] = []
    async for key in redis.scan_iter("*"):
        found.append(cast("bytes", key))
        match await redis.type(key):
            case b"hash":
                for name, value in (await redis.hgetall(key)).items():
                    found += [cast("bytes", name), cast("bytes", value)]
            case b"zset":
                found += cast("list[bytes]", await redis.zrange(key, 0, -1))
            case b"string":
                found.append(cast("bytes", await redis.get(key)))
            case other:
                raise AssertionError(f"what is {other!r}?")
    return b"\n".join(found)


def dump(settings: ApiSettings) -> bytes:
    """Every row of every table as text; bytea in hex and once more as it is."""
    url = make_url(settings.database_url.get_secret_value()).set(drivername="postgresql")
    found: list[bytes] = []
    with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
        for (table,) in tables:
            rows = connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)))
            for row in rows:
                found += [
                    value if isinstance(value, bytes) else str(value).encode() for value in row
                ]
    return b"\n".join(found)


def holds(content: bytes, canary: str) -> bool:
    """In clear, in hex or in base64."""
    raw = canary.encode()
    encoded = {raw, raw.hex().encode(), base64.b64encode(raw), base64.urlsafe_b64encode(raw)}
    return any(form in content for form in encoded)


def stands_alone(content: bytes, code: str) -> bool:
    """Six digits may be part of an id or of a time by chance; a stored code stands alone."""
    return any(
        not content[place - 1 : place].isalnum()
        and not content[place + 6 : place + 7].isalnum()
        and content[place - 1 : place] != b"."
        for place in range(1, len(content))
        if content.startswith(code.encode(), place)
    )
