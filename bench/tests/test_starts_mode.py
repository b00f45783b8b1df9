"""Mode *starts*: a payer who was not told what to do next makes the run void."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from bench.callback.prefill import open_attempts
from bench.callback.sender import Sent
from bench.starts import measured, require_begun
from bench.step import Void, Window
from shared.runtime.database.database import open_database
from shared.runtime.database.statements import text
from testing.databases import plain

TOLD = b'{"next_action":{"type":"qr_code","content":"https://qr.example.org"}}'


def sent(count: int, *, answered_after: float = 0.1) -> Sent:
    return Sent(
        began_at=datetime(2026, 11, 26, tzinfo=UTC),
        answered_at=[place / 10 + answered_after for place in range(count)],
        statuses=[201] * count,
        bodies=[TOLD] * count,
    )


def test_a_wait_counts_from_when_the_payer_wanted_to_begin() -> None:
    found = sent(30)
    # In the warm-up, and not counted.
    found.answered_at[3] = 5.0

    step = measured(found, 10.0, Window(1, 2), {"payment-api": 0.3})

    assert step.starts == 30
    assert step.latency_ms.max == pytest.approx(100)
    assert step.cpu_us_per_start == {"payment-api": pytest.approx(10_000)}


@pytest.mark.parametrize(
    ("status", "body"), [(503, b"{}"), (201, b'{"next_action":null}'), (0, b"")]
)
def test_a_payer_who_was_not_told_what_to_do_makes_the_run_void(status: int, body: bytes) -> None:
    found = sent(30)
    found.statuses[20], found.bodies[20] = status, body

    with pytest.raises(Void, match="1 of 30 payers"):
        measured(found, 10.0, Window(1, 2), {})


async def test_an_attempt_too_few_or_not_awaiting_its_payer_makes_the_run_void(
    service_database: Callable[[str], str],
) -> None:
    url = service_database("payment")
    database = open_database(url, source="payment", pool_size=1)
    opened = await open_attempts(database, 5, now=datetime.now(UTC))
    plain_url = plain(url)

    require_begun(plain_url, 5)
    with pytest.raises(Void, match=r"\(5, 5, 5\) instead of 6"):
        require_begun(plain_url, 6)

    async with database.transaction() as unit:
        await unit.connection.execute(
            text("UPDATE payment_attempt SET status = 'CLOSED', due_at = NULL WHERE id = :id"),
            {"id": opened[2].attempt_id},
        )
    with pytest.raises(Void, match=r"\(4, 5, 5\)"):
        require_begun(plain_url, 5)
    await database.close()
