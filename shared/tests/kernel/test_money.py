"""Money: whole fen, half-up."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.money import Money

amounts = st.integers(min_value=0, max_value=10_000_000_000)
rates = st.fractions(min_value=0, max_value=1, max_denominator=100_000)


@given(amounts, rates)
def test_a_share_is_the_nearest_fen(fen: int, rate: Fraction) -> None:
    share = Money(fen).share(rate).fen

    assert abs(share - fen * rate) <= Fraction(1, 2)


@given(amounts)
def test_a_share_exactly_between_two_fen_goes_up(fen: int) -> None:
    between = Fraction(2 * fen + 1, 2)

    assert Money(1).share(between).fen == fen + 1


@given(amounts, rates)
def test_a_share_depends_on_the_value_of_the_rate_and_not_on_how_it_is_written(
    fen: int, rate: Fraction
) -> None:
    expanded = Fraction(rate.numerator * 7, rate.denominator * 7)

    assert Money(fen).share(rate) == Money(fen).share(expanded)


@pytest.mark.parametrize(
    ("fen", "rate", "expected"),
    [
        (632_600, Fraction(2, 15), 84_347),  # 6326 yuan × 20 % × 2/3, published as 843.47
        (1, Fraction(1, 2), 1),
        (1, Fraction(49, 100), 0),
        (0, Fraction(1, 3), 0),
    ],
)
def test_shares_round_half_up(fen: int, rate: Fraction, expected: int) -> None:
    assert Money(fen).share(rate) == Money(expected)


@given(amounts, amounts)
def test_sums_are_exact(one: int, other: int) -> None:
    assert Money(one) + Money(other) == Money(one + other)


@given(amounts)
def test_yuan_as_people_write_it_can_be_read_back(fen: int) -> None:
    written = Money(fen).yuan.replace(",", "")

    assert Money.of_yuan(written) == Money(fen)
    assert Decimal(written) * 100 == fen


def test_yuan_has_two_decimals_and_separated_thousands() -> None:
    assert [Money(fen).yuan for fen in (0, 5, 145_400, 123_456_789)] == [
        "0.00",
        "0.05",
        "1,454.00",
        "1,234,567.89",
    ]


@pytest.mark.parametrize("wrong", [-1, 1.0, True, "1", None, Decimal(1)])
def test_only_whole_non_negative_numbers_are_amounts(wrong: object) -> None:
    with pytest.raises(ValueError):
        Money(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["0.001", "1.005"])
def test_parts_of_a_fen_are_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="whole number of fen"):
        Money.of_yuan(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        "1,454.00",
        "",
        " ",
        "Infinity",
        "-Infinity",
        "NaN",
        "sNaN",
        "１４５４.００",
        "٣",
        "²",
        "1e3",
        "1E-2",
        " 1 ",
        "1\n",
        "-1",
        "+1",
        "-0",
        "1.",
        ".5",
        "1.000",
        "1.5.0",
        "1_000",
        "0x1",
        "9" * 17,
        "9" * 10000,
        "一",
    ],
)
def test_what_is_no_plain_amount_is_a_value_error(wrong: str) -> None:
    with pytest.raises(ValueError, match="no plain amount"):
        Money.of_yuan(wrong)


@given(
    st.text()
    | st.from_regex(r"\s?[+-]?[\d,_]*\.?\d*([eE][+-]?\d{1,4})?\s?")
    | st.decimals().map(str)
    | st.floats().map(str)
)
def test_a_text_is_read_exactly_or_refused(text: str) -> None:
    try:
        amount = Money.of_yuan(text)
    except ValueError:
        return
    assert text.isascii()
    assert set(text) <= set("0123456789.")
    assert Decimal(text) * 100 == amount.fen
