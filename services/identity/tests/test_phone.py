"""Phones: E.164 of a country served, and never shown in clear by accident."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.identity.adapters.phone_numbers import ServedPhoneNumbers
from services.identity.domain.phone import Phone
from shared.kernel.errors import Refused

MAINLAND_ONLY = ServedPhoneNumbers({86})


@pytest.mark.parametrize(
    "text", ["+8613800138000", "+8613912345678", "+8619912345678", "+8614912345678"]
)
def test_a_mainland_mobile_number_is_accepted(text: str) -> None:
    assert MAINLAND_ONLY.accept(text) == Phone(text)


@pytest.mark.parametrize(
    "text",
    [
        "13800138000",
        "0086-13800138000",
        "8613800138000",
        "+86 138 0013 8000",
        "+861380013800",
        "+86138001380000",
        "+8612800138000",
        "+861013800138",
        "+86013800138000",
        "+8613800138000\n",
        "+８６１３８００１３８０００",
        "+",
        "",
        "+8613800138000;ext=1",
        "not a number",
    ],
)
def test_anything_else_is_refused_with_one_code(text: str) -> None:
    with pytest.raises(Refused) as refusal:
        MAINLAND_ONLY.accept(text)

    assert refusal.value.code == "phone_malformed"


@pytest.mark.parametrize("range", ["140", "146", "148", "154", "160", "161", "168", "179", "194"])
def test_a_range_that_we_do_not_know_is_not_called_a_wrong_form(range: str) -> None:
    with pytest.raises(Refused) as refusal:
        MAINLAND_ONLY.accept(f"+86{range}12345678")

    assert refusal.value.code == "phone_range_not_supported"
    assert "号段暂不支持" in str(refusal.value.detail)


@given(st.from_regex(r"\+861[0-9]{10}", fullmatch=True))
def test_every_mainland_number_is_served_or_refused_by_one_of_two_words(text: str) -> None:
    try:
        assert MAINLAND_ONLY.accept(text) == Phone(text)
    except Refused as refusal:
        is_mobile_form = "3" <= text[4] <= "9"
        code = "phone_range_not_supported" if is_mobile_form else "phone_malformed"
        assert refusal.code == code  # noqa: PT017


@pytest.mark.parametrize(
    "mark", ["\u202a", "\u202c", "\u200b", "\ufeff", "\u2060", "\xa0", "\u200e"]
)
def test_a_mark_from_a_clipboard_is_refused_with_the_form(mark: str) -> None:
    for text in (mark + "+8613800138000", "+8613800138000" + mark, "+86138" + mark + "00138000"):
        with pytest.raises(Refused) as refusal:
            MAINLAND_ONLY.accept(text)
        assert refusal.value.code == "phone_malformed"


@pytest.mark.parametrize("text", ["+85251234567", "+12025550123", "+447400123456"])
def test_other_countries_are_served_only_where_they_are_listed(text: str) -> None:
    with pytest.raises(Refused) as refusal:
        MAINLAND_ONLY.accept(text)

    assert refusal.value.code == "phone_country_not_served"
    assert ServedPhoneNumbers({86, 852}).accept("+85251234567") == Phone("+85251234567")


@pytest.mark.parametrize(
    ("e164", "masked"), [("+8613800138000", "138****8000"), ("+85251234567", "*******4567")]
)
def test_masking_leaves_what_people_need_to_recognise_their_number(e164: str, masked: str) -> None:
    assert Phone(e164).masked == masked


def test_a_phone_prints_itself_masked() -> None:
    printed = f"{Phone('+8613800138000')} {Phone('+8613800138000')!r}"

    assert "13800138000" not in printed
    assert "138****8000" in printed
