"""Everything the notifier reacts to: each event of the announcement table is recorded."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.notifier.adapters.postgres.unit import NotifierUnit
from services.notifier.application.record_notifications import record_notifications
from services.notifier.domain.announcements import ANNOUNCEMENTS, Announcements
from shared.kernel.clock import Clock
from shared.kernel.events import CONTRIBUTIONS_TOPIC, ORDERS_TOPIC, Event, Message
from shared.runtime.database.unit_of_work import Unit
from shared.runtime.messaging.consumer import Consumer, Reaction

NAME = "notifier"
TOPICS = (CONTRIBUTIONS_TOPIC, ORDERS_TOPIC)


def consumer(
    clock: Clock,
    *,
    topics: tuple[str, ...] = TOPICS,
    announcements: Announcements = ANNOUNCEMENTS,
) -> Consumer:
    """One dead letter must not keep later news from a person: nothing is held back."""
    return Consumer(
        name=NAME, topics=topics, reactions=reactions(clock, announcements), hold_back=False
    )


def reactions(clock: Clock, announcements: Announcements) -> Mapping[type[Event], Reaction]:
    async def record(unit: Unit, messages: Sequence[Message[Any]]) -> None:
        await record_notifications(
            NotifierUnit(unit), messages, clock=clock, announcements=announcements
        )

    return dict.fromkeys(announcements, record)
