"""What a consumer reacts to, and what one Kafka record is to it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from shared.kernel.errors import Malformed
from shared.kernel.events import Event, Message, decode, event_id_of, event_type_of
from shared.runtime.database.unit_of_work import Unit

if TYPE_CHECKING:
    from aiokafka import ConsumerRecord

Reaction = Callable[[Unit, Sequence[Message[Any]]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Consumer:
    """One consumer group: its name is the inbox's `consumer` and the end of its group id.

    With `hold_back`, later records of a key wait behind its dead letter; without (the notifier),
    a dead letter is parked alone.
    """

    name: str
    topics: tuple[str, ...]
    reactions: Mapping[type[Event], Reaction]
    hold_back: bool = True
    _handled_types: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        types = frozenset(event.type for event in self.reactions)
        object.__setattr__(self, "_handled_types", types)

    @property
    def group_id(self) -> str:
        return f"songhe-{self.name}"

    def handles(self, event_type: str) -> bool:
        return event_type in self._handled_types


class Place(msgspec.Struct, frozen=True):
    """Where a record lies in the log."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}@{self.offset}"


class Received(msgspec.Struct, frozen=True):
    """One record with what could be read of it: a message, or the reason why not."""

    place: Place
    key: bytes | None
    headers: Sequence[tuple[str, bytes]]
    body: bytes | None
    event_id: UUID | None
    event_type: str | None
    message: Message[Event] | None = None
    malformed: Malformed | None = None

    @property
    def topic_key(self) -> tuple[str, bytes] | None:
        """The scope of hold-back; a record without a key has none."""
        return None if self.key is None else (self.place.topic, self.key)


def receive(
    place: Place, key: bytes | None, headers: Sequence[tuple[str, bytes]], body: bytes | None
) -> Received:
    """Read one record; what cannot be read is kept as it is, with the reason."""
    try:
        message = decode(headers, body)
    except Malformed as error:
        return Received(
            place=place,
            key=key,
            headers=headers,
            body=body,
            event_id=event_id_of(headers),
            event_type=event_type_of(headers),
            malformed=error,
        )
    return Received(
        place=place,
        key=key,
        headers=headers,
        body=body,
        event_id=message.envelope.event_id,
        event_type=message.envelope.type,
        message=message,
    )


def receive_record(record: "ConsumerRecord", consumer: Consumer) -> Received | None:
    """The record as `consumer` sees it; None for a type it does not handle."""
    # Kafka allows a header without a value; ours never are.
    headers = [(name, value or b"") for name, value in record.headers]
    event_type = event_type_of(headers)
    if event_type is not None and not consumer.handles(event_type):
        return None
    place = Place(record.topic, record.partition, record.offset)
    return receive(place, record.key, headers, record.value)
