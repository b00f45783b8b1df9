"""Events: what is written can be read, what is damaged is Malformed and nothing else."""

import json
from collections.abc import Sequence
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.kernel.errors import Malformed
from shared.kernel.events import (
    EVENT_TYPES,
    Event,
    Message,
    PaymentSettled,
    decode,
    encode_body,
    encode_headers,
    event_id_of,
    event_type_of,
)
from shared.kernel.ids import new_id
from testing.builders import (
    EVENT_BUILDERS,
    kafka_record,
    message,
    payment_requested,
    payment_settled,
)

types = pytest.mark.parametrize("kind", EVENT_TYPES.values(), ids=EVENT_TYPES)
REQUIRED_HEADERS = (
    "ce_id",
    "ce_type",
    "ce_source",
    "ce_time",
    "ce_subject",
    "sequence",
    "schema_version",
    "correlation_id",
)


def headers_with(told: Message[Event], **changes: str | None) -> list[tuple[str, bytes]]:
    """The headers of a message, some replaced, and left out where the change is None."""
    kept = [(name, value) for name, value in encode_headers(told.envelope) if name not in changes]
    added = [(name, value.encode()) for name, value in changes.items() if value is not None]
    return kept + added


def body_with(body: Event, **changes: object) -> bytes:
    return json.dumps({**json.loads(encode_body(body)), **changes}).encode()


def test_every_event_type_has_a_builder() -> None:
    assert set(EVENT_BUILDERS) == set(EVENT_TYPES.values())


@types
def test_what_is_written_is_read(kind: type[Event]) -> None:
    told = message(
        EVENT_BUILDERS[kind](), sequence=7, causation_id=new_id(), traceparent="00-ab-cd-01"
    )

    _, headers, body = kafka_record(told)

    assert decode(headers, body) == told
    assert event_type_of(headers) == kind.type
    assert event_id_of(headers) == told.envelope.event_id


@types
def test_the_same_body_always_gives_the_same_bytes(kind: type[Event]) -> None:
    body = EVENT_BUILDERS[kind]()

    assert encode_body(msgspec.structs.replace(body)) == encode_body(body)


@types
def test_unknown_fields_and_headers_are_ignored(kind: type[Event]) -> None:
    told = message(EVENT_BUILDERS[kind]())

    read = decode(headers_with(told, x_added="later"), body_with(told.body, added="later"))

    assert read == told


@types
def test_no_event_has_a_place_for_personal_data(kind: type[Event]) -> None:
    words = ("name", "phone", "mobile", "citizen", "card", "address", "email")

    assert [f for f in kind.__struct_fields__ if any(word in f for word in words)] == []


@pytest.mark.parametrize("name", REQUIRED_HEADERS)
def test_a_missing_header_is_malformed(name: str) -> None:
    told = message(payment_settled())

    with pytest.raises(Malformed, match=name):
        decode(headers_with(told, **{name: None}), encode_body(told.body))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce_id", "not-a-uuid"),
        ("ce_subject", ""),
        ("ce_time", "yesterday"),
        ("ce_time", "2026-11-24T04:30:00"),  # without a zone it is no instant
        ("ce_time", "9999-12-31T23:59:59-23:59"),  # no such instant in UTC
        ("sequence", "two"),
        ("sequence", "-1"),
        ("sequence", str(2**63)),  # does not fit into the column that keeps it
        ("sequence", "9" * 5000),
        ("schema_version", "1.0"),
        ("correlation_id", "7"),
        ("causation_id", "seven"),
    ],
)
def test_a_damaged_header_is_malformed(name: str, value: str) -> None:
    told = message(payment_settled())

    with pytest.raises(Malformed):
        decode(headers_with(told, **{name: value}), encode_body(told.body))


@pytest.mark.parametrize("version", ["0", "2", "-1", "999"])
def test_an_unknown_version_of_a_known_type_is_malformed(version: str) -> None:
    told = message(payment_settled())

    with pytest.raises(Malformed, match=f"unknown version {version} of PaymentSettled"):
        decode(headers_with(told, schema_version=version), encode_body(told.body))


def test_an_unknown_type_is_malformed() -> None:
    told = message(payment_settled())

    with pytest.raises(Malformed, match="unknown event type 'PaymentVanished'"):
        decode(headers_with(told, ce_type="PaymentVanished"), encode_body(told.body))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount_fen", -1),
        ("amount_fen", 1.5),
        ("amount_fen", "100"),
        ("amount_fen", True),
        ("amount_fen", 10**30),
        ("attempt_id", "not-a-uuid"),
        ("channel", ""),
        ("channel", "x" * 65),
        ("channel", "a b"),
        ("channel_trade_no", "a\x00b"),  # PostgreSQL stores no NUL
        ("channel_trade_no", "\ud800"),
        ("settled_at", "2026-11-24T04:30:00"),  # without a zone it is no instant
        ("insured_person_id", None),
    ],
)
def test_a_body_that_breaks_its_schema_is_malformed(field: str, value: object) -> None:
    told = message(payment_settled())

    with pytest.raises(Malformed, match="PaymentSettled"):
        decode(encode_headers(told.envelope), body_with(told.body, **{field: value}))


@pytest.mark.parametrize("body", [None, b"", b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_malformed(body: bytes | None) -> None:
    told = message(payment_settled())

    with pytest.raises(Malformed):
        decode(encode_headers(told.envelope), body)


header_names = st.sampled_from([*REQUIRED_HEADERS, "causation_id", "traceparent"]) | st.text()
# Kafka allows a header without a value, which clients hand over as None
header_values = st.none() | st.binary(max_size=64) | st.text(max_size=64).map(str.encode)
some_headers = st.lists(st.tuples(header_names, header_values), max_size=14)


def reads_or_is_malformed(headers: Sequence[tuple[str, bytes]], body: bytes | None) -> None:
    try:
        read = decode(headers, body)
    except Malformed:
        return
    assert decode(encode_headers(read.envelope), encode_body(read.body)).body == read.body


@given(some_headers, st.none() | st.binary())
@example([("ce_type", None)], None)
@example([("ce_id", None)], None)
def test_no_headers_whatever_raise_anything_but_malformed(
    headers: list[tuple[str, bytes]], body: bytes | None
) -> None:
    reads_or_is_malformed(headers, body)
    event_type_of(headers)
    event_id_of(headers)


@given(
    st.sampled_from(list(EVENT_TYPES.values())),
    st.dictionaries(
        st.sampled_from(
            sorted({field for kind in EVENT_TYPES.values() for field in kind.__struct_fields__})
        ),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text()
            | st.datetimes().map(str),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
            ),
            max_leaves=5,
        ),
        max_size=5,
    ),
)
def test_no_body_whatever_raises_anything_but_malformed(
    kind: type[Event], changes: dict[str, object]
) -> None:
    told = message(EVENT_BUILDERS[kind]())

    reads_or_is_malformed(encode_headers(told.envelope), body_with(told.body, **changes))


@given(st.data())
def test_no_damaged_byte_raises_anything_but_malformed(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(EVENT_TYPES.values())))
    _, headers, body = kafka_record(message(EVENT_BUILDERS[kind]()))
    damaged = list(headers)
    place = data.draw(st.integers(0, len(damaged) - 1))
    name, value = damaged[place]
    at = data.draw(st.integers(0, len(value)))
    damaged[place] = (name, value[:at] + data.draw(st.binary(max_size=3)) + value[at + 1 :])
    cut = data.draw(st.integers(0, len(body)))

    reads_or_is_malformed(damaged, body)
    reads_or_is_malformed(headers, body[:cut] + data.draw(st.binary(max_size=3)) + body[cut + 1 :])


def test_the_first_of_two_equal_headers_names_type_and_id() -> None:
    told = message(payment_settled())
    twice = [
        *encode_headers(told.envelope),
        ("ce_type", b"Other"),
        ("ce_id", str(UUID(int=1)).encode()),
    ]

    assert event_type_of(twice) == PaymentSettled.type
    assert event_id_of(twice) == told.envelope.event_id
    with pytest.raises(Malformed):
        decode(twice, encode_body(told.body))


@pytest.mark.parametrize(("field", "value"), [("period", "2026-11\n"), ("region", "310000\n")])
def test_a_trailing_newline_is_no_part_of_a_code(field: str, value: str) -> None:
    told = message(payment_requested())

    with pytest.raises(Malformed, match="PaymentRequested"):
        decode(encode_headers(told.envelope), body_with(told.body, **{field: value}))
