"""One key and body: the use case runs once, and the answer stays the same."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import create_engine, make_url
from starlette.responses import Response

from shared.kernel.errors import Contradiction, Malformed, Refused, Unavailable, WordedRefusal
from shared.kernel.wording import Language, Wording
from shared.runtime.database.database import Database, open_database
from shared.runtime.database.statements import text
from shared.runtime.database.unit_of_work import Unit
from shared.runtime.http.idempotency import Answer, answer_once
from shared.runtime.messaging.tables import create_messaging_tables, queue_unsent

OPERATION = "POST /demo/v1/things"
REQUEST = {"name": "a", "count": 1}


@pytest.fixture(scope="module")
def prepared_url(empty_database: str) -> str:
    engine = create_engine(make_url(empty_database).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        operations = Operations(MigrationContext.configure(connection))
        create_messaging_tables(operations)
        queue_unsent(operations)
        connection.exec_driver_sql("CREATE TABLE effect (id uuid NOT NULL, name text NOT NULL)")
    engine.dispose()
    return empty_database


@pytest.fixture(scope="module", params=["postgresql+asyncpg", "postgresql+psycopg"])
async def database(prepared_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    url = make_url(prepared_url).set(drivername=request.param)
    database = open_database(url.render_as_string(hide_password=False), source="demo", pool_size=5)
    yield database
    await database.close()


@pytest.fixture
def key() -> str:
    return str(uuid4())


class Work:
    """A use case that leaves a row, and can be made to fail after it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.id = uuid4()
        self.go_on = asyncio.Event()
        self.has_begun = asyncio.Event()
        self.go_on.set()

    async def __call__(self, unit: Unit) -> Answer:
        await unit.connection.execute(
            text("INSERT INTO effect (id, name) VALUES (:id, 'made')"), {"id": self.id}
        )
        self.has_begun.set()
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        return Answer.of(201, {"id": self.id}, location=f"/demo/v1/things/{self.id}")

    async def effects(self, database: Database) -> int:
        async with database.transaction() as unit:
            count = await unit.connection.scalar(
                text("SELECT count(*) FROM effect WHERE id = :id"), {"id": self.id}
            )
        return int(count or 0)


async def ask(
    database: Database,
    key: str,
    work: Callable[[Unit], Awaitable[Answer]],
    *,
    subject: str = "person-1",
    operation: str = OPERATION,
    request: dict[str, object] | None = None,
) -> Response:
    return await answer_once(
        database,
        subject=subject,
        operation=operation,
        key=key,
        request=request or dict(REQUEST),
        use_case=work,
    )


async def test_the_first_answer_is_given_as_it_is(database: Database, key: str) -> None:
    work = Work()

    answer = await ask(database, key, work)

    assert answer.status_code == 201
    assert json.loads(bytes(answer.body)) == {"id": str(work.id)}
    assert answer.headers["location"] == f"/demo/v1/things/{work.id}"
    assert "idempotency-replayed" not in answer.headers


async def test_the_same_key_and_body_give_the_stored_answer(database: Database, key: str) -> None:
    work = Work()
    first = await ask(database, key, work)

    again = await ask(database, key, work, request={"count": 1, "name": "a"})

    assert (again.status_code, again.body) == (first.status_code, first.body)
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["content-type"] == "application/json"
    assert again.headers["idempotency-replayed"] == "true"
    assert await work.effects(database) == 1


async def test_the_same_key_with_another_body_is_refused(database: Database, key: str) -> None:
    await ask(database, key, Work())
    other = Work()

    with pytest.raises(Refused) as refusal:
        await ask(database, key, other, request={"name": "b", "count": 1})

    assert (refusal.value.status, refusal.value.code) == (422, "idempotency_key_reused")
    assert await other.effects(database) == 0


async def test_keys_belong_to_their_subject_and_operation(database: Database, key: str) -> None:
    mine, theirs, elsewhere = Work(), Work(), Work()

    await ask(database, key, mine)
    await ask(database, key, theirs, subject="person-2")
    await ask(database, key, elsewhere, operation="POST /demo/v1/others")

    assert [await work.effects(database) for work in (mine, theirs, elsewhere)] == [1, 1, 1]


async def test_fifty_at_once_with_one_key_run_the_use_case_once(
    database: Database, key: str
) -> None:
    work = Work()

    async def persist() -> Response:
        while True:
            try:
                return await ask(database, key, work)
            except Refused as refusal:
                if refusal.code != "request_in_progress":
                    raise

    async with asyncio.timeout(20):
        answers = await asyncio.gather(*(persist() for _ in range(50)))

    assert await work.effects(database) == 1
    assert len({bytes(answer.body) for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1


async def test_while_the_first_is_worked_on_the_second_is_told_to_wait(
    database: Database, key: str
) -> None:
    work = Work()
    work.go_on.clear()
    first = asyncio.create_task(ask(database, key, work))
    await asyncio.wait_for(work.has_begun.wait(), 5)

    with pytest.raises(Refused) as refusal:
        await ask(database, key, Work())

    assert (refusal.value.status, refusal.value.code) == (409, "request_in_progress")
    assert refusal.value.extra["retry_after_seconds"] == 1
    work.go_on.set()
    assert (await first).status_code == 201


async def test_a_refusal_undoes_the_work_and_is_stored(database: Database, key: str) -> None:
    work = Work(Refused("already_paid", "It is paid.", extra={"order": "42"}))

    first = await ask(database, key, work)
    again = await ask(database, key, Work())

    assert (first.status_code, again.status_code) == (409, 409)
    assert first.headers["content-type"] == "application/problem+json"
    assert again.headers["content-type"] == "application/problem+json"
    assert first.body == again.body
    assert json.loads(bytes(first.body))["order"] == "42"
    assert again.headers["idempotency-replayed"] == "true"
    assert await work.effects(database) == 0


async def test_a_refusal_is_stored_in_the_language_of_who_asked_first(
    database: Database, key: str
) -> None:
    words = Wording("已经缴过了。", "It is paid.")
    work = Work(WordedRefusal("already_paid", words, status=409))

    first, again = [
        await answer_once(
            database,
            subject="person",
            operation=OPERATION,
            key=key,
            request=REQUEST,
            use_case=work,
            language=language,
        )
        for language in (Language.EN, Language.ZH)
    ]

    assert json.loads(bytes(first.body))["detail"] == "It is paid."
    assert again.body == first.body


@pytest.mark.parametrize(
    "error",
    [
        Refused("bad", "Bad.", status=400),
        Refused("unknown", "Who?", status=401),
        Refused("too_many", "Wait.", status=429),
        Refused("unavailable", "Later.", status=503),
        Refused("not_yet", "Come again.", extra={"retry_after_seconds": 5}),
        Unavailable("unavailable", "Later."),
        Malformed("never"),
        Contradiction("both"),
        ZeroDivisionError(),
    ],
)
async def test_what_decides_nothing_is_never_stored(
    database: Database, key: str, error: Exception
) -> None:
    failing = Work(error)
    with pytest.raises(type(error)):
        await ask(database, key, failing)

    better = Work()
    answer = await ask(database, key, better)

    assert answer.status_code == 201
    assert "idempotency-replayed" not in answer.headers
    assert await failing.effects(database) == 0
    assert await better.effects(database) == 1


async def test_a_crash_before_the_commit_leaves_neither_work_nor_answer(
    database: Database, key: str
) -> None:
    work = Work()
    work.go_on.clear()
    first = asyncio.create_task(ask(database, key, work))
    await asyncio.wait_for(work.has_begun.wait(), 5)

    first.cancel()
    await asyncio.gather(first, return_exceptions=True)

    better = Work()
    assert (await ask(database, key, better)).status_code == 201
    assert await work.effects(database) == 0
    assert await better.effects(database) == 1


async def test_texts_that_look_like_sql_are_just_keys(database: Database) -> None:
    key = "'); DROP TABLE effect; --"
    work = Work()

    await ask(database, key, work)
    again = await ask(database, key, work)

    assert again.headers["idempotency-replayed"] == "true"
