"""A batch is split into rounds in which each key appears once, its order kept."""

import uuid
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from shared.runtime.messaging.batch import rounds
from shared.runtime.messaging.consumer import Place, Received, receive
from testing.builders import kafka_record, message, money_accepted, money_rejected

PERSONS = [uuid.UUID(int=number) for number in range(5)]
BUILDERS = [money_accepted, money_rejected]


def received(offset: int, person: UUID, kind: int) -> Received:
    body = BUILDERS[kind](insured_person_id=person, attempt_id=person)
    key, headers, value = kafka_record(message(body, subject=person, sequence=offset + 1))
    return receive(Place("topic", 0, offset), key, headers, value)


@given(st.lists(st.tuples(st.sampled_from(PERSONS), st.sampled_from([0, 1])), max_size=60))
def test_each_key_is_once_in_a_round_and_its_order_is_kept(wanted: list[tuple[UUID, int]]) -> None:
    records = [received(offset, person, kind) for offset, (person, kind) in enumerate(wanted)]

    split = rounds(records)

    seen: dict[str, list[int]] = {}
    for together in split:
        persons = [m.body.record_key for group in together.values() for m in group]
        assert len(persons) == len(set(persons))
        for kind, group in together.items():
            assert {type(m.body) for m in group} == {kind}
            for m in group:
                seen.setdefault(m.body.record_key, []).append(m.envelope.sequence)
    assert sum(len(sequences) for sequences in seen.values()) == len(records)
    assert all(sequences == sorted(sequences) for sequences in seen.values())
