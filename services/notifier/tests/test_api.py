"""The inbox over HTTP: one's own, newest first, page by page."""

from datetime import timedelta

import pytest

from services.notifier.adapters.http.cursor import read_cursor, write_cursor
from services.notifier.adapters.postgres.unit import transactions_of
from services.notifier.application.list_notifications import list_notifications
from services.notifier.application.ports import InboxEntry, Place
from services.notifier.tests.world import World
from shared.kernel.errors import Refused
from shared.kernel.ids import new_id
from testing.builders import contribution_assessed

PAGE = 4


async def test_pages_hold_everything_once_newest_first(world: World) -> None:
    person = new_id()
    for _ in range(10):
        await world.tell(world.news(contribution_assessed(insured_person_id=person)))
        world.clock.advance(timedelta(milliseconds=1))
    await world.tell(world.news(contribution_assessed()))

    seen: list[InboxEntry] = []
    before = None
    for _ in range(4):
        page = await list_notifications(
            transactions_of(world.database), person_id=person, limit=PAGE, before=before
        )
        seen += page.entries
        if page.next_place is None:
            break
        before = read_cursor(write_cursor(page.next_place))

    assert len({entry.id for entry in seen}) == len(seen) == 10
    times = [entry.occurred_at for entry in seen]
    assert times == sorted(times, reverse=True)


def test_a_cursor_survives_its_journey(world: World) -> None:
    place = Place(world.clock.now(), new_id())

    assert read_cursor(write_cursor(place)) == place


@pytest.mark.parametrize("cursor", ["", "x", "////", "AAAA", "A" * 64, "A" * 36, "中文"])
def test_a_cursor_that_is_not_ours_is_refused(cursor: str) -> None:
    with pytest.raises(Refused) as refused:
        read_cursor(cursor)

    assert refused.value.code == "cursor_unknown"
