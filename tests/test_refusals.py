"""Every refusal of every service: who is told when to come again is answered anew then."""

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from itertools import count

import pytest
import pytest_asyncio

import services.billing.domain.refusal as billing
import services.identity.domain.refusal as identity
import services.payment.domain.refusal as payment
from shared.kernel.errors import Refused, Unavailable
from shared.kernel.ids import new_id
from shared.runtime.database.database import Database, open_database
from shared.runtime.database.unit_of_work import Unit
from shared.runtime.http.idempotency import Answer, answer_once

EVERY_REFUSAL: list[tuple[str, str, int]] = [
    *(("billing", code, status) for code, (status, _) in billing.REFUSALS.items()),
    *(("identity", code, status) for code, (status, _) in identity.REFUSALS.items()),
    *(("payment", code, status) for code, (status, _) in payment.REFUSALS.items()),
]


@pytest_asyncio.fixture(scope="module")
async def database(service_database: Callable[[str], str]) -> AsyncIterator[Database]:
    database = open_database(service_database("payment"), source="payment", pool_size=1)
    yield database
    await database.close()


async def asked_twice(database: Database, refusal: Refused | Unavailable) -> int:
    """How often the use case ran for two requests with the same key."""
    key, runs = str(new_id()), count(1)
    last = 0

    async def use_case(_: Unit) -> Answer:
        nonlocal last
        last = next(runs)
        raise refusal

    for _ in range(2):
        with suppress(Refused, Unavailable):
            await answer_once(
                database,
                subject="a person",
                operation="a test",
                key=key,
                request={},
                use_case=use_case,
            )
    return last


@pytest.mark.parametrize(("service", "code", "status"), EVERY_REFUSAL)
async def test_a_refusal_that_says_when_to_come_again_is_never_kept_under_its_key(
    database: Database, service: str, code: str, status: int
) -> None:
    for_now = Refused(code, service, status=status, extra={"retry_after_seconds": 5})

    assert await asked_twice(database, for_now) == 2


@pytest.mark.parametrize(("service", "code", "status"), EVERY_REFUSAL)
async def test_a_refusal_without_a_time_is_kept_where_its_status_decides(
    database: Database, service: str, code: str, status: int
) -> None:
    decides = status < 500 and status not in (400, 401, 429)

    runs = await asked_twice(database, Refused(code, service, status=status))

    assert runs == (1 if decides else 2)


async def test_an_outage_is_never_kept(database: Database) -> None:
    assert await asked_twice(database, Unavailable("away", "Away.", retry_after_seconds=5)) == 2
