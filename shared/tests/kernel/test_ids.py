"""Ids: time-ordered for rows, derived for what may be told again."""

import uuid
from datetime import UTC, datetime, timedelta

import time_machine
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.ids import SONGHE_NAMESPACE, derived_id, event_id, new_id


def test_a_new_id_is_a_uuid_version_7_of_the_rfc_variant() -> None:
    made = new_id()

    assert made.version == 7
    assert made.variant == uuid.RFC_4122


def test_a_new_id_begins_with_its_creation_time_in_milliseconds() -> None:
    moment = datetime(2026, 11, 24, 4, 30, 0, 123_000, tzinfo=UTC)

    with time_machine.travel(moment, tick=False):
        made = new_id()

    assert made.int >> 80 == int(moment.timestamp() * 1000)


def test_ids_of_later_milliseconds_sort_later() -> None:
    start = datetime(2026, 11, 24, tzinfo=UTC)
    made = []

    with time_machine.travel(start, tick=False) as traveller:
        for _ in range(100):
            made.append(new_id())
            traveller.shift(timedelta(milliseconds=1))

    assert made == sorted(made)


def test_ids_of_one_millisecond_differ() -> None:
    with time_machine.travel(datetime(2026, 11, 24, tzinfo=UTC), tick=False):
        assert len({new_id() for _ in range(10_000)}) == 10_000


def test_the_id_of_an_event_never_changes() -> None:
    row = uuid.UUID("0192d3a0-0000-7000-8000-000000000001")

    # Written down: another rule or namespace would make every consumer see old facts as new
    assert event_id("PaymentSettled", row, 2) == uuid.UUID("99e4d92f-4c4c-5197-b0b5-e7c34f754e11")
    assert event_id("PaymentSettled", row, 2) == uuid.uuid5(
        SONGHE_NAMESPACE, "PaymentSettled:0192d3a0-0000-7000-8000-000000000001:2"
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["PaymentSettled", "PaymentFailed"]),
            st.uuids(),
            st.integers(min_value=1, max_value=99),
        ),
        unique=True,
    )
)
def test_different_facts_have_different_event_ids(facts: list[tuple[str, uuid.UUID, int]]) -> None:
    assert len({event_id(*fact) for fact in facts}) == len(facts)


def test_a_derived_id_exists_once_per_row_and_purpose() -> None:
    row = new_id()

    assert derived_id(row, "auto-refund") == derived_id(row, "auto-refund")
    assert derived_id(row, "auto-refund") != derived_id(row, "receipt")
    assert derived_id(row, "auto-refund") != derived_id(new_id(), "auto-refund")
