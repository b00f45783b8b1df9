"""Phones: E.164 of a country served, and never shown in clear by accident."""

import pytest

from services.identity.adapters.phone_numbers import ServedPhoneNumbers
from services.identity.domain.phone import Phone
from shared.kernel.errors import Refused

MAINLAND_ONLY = ServedPhoneNumbers({86})


@pytest.mark.parametrize("text", ["+8613800138000", "+8613912345678", "+8619912345678"])
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
