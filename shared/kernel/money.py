"""Money is an integer number of fen (1/100 yuan); there is no float anywhere near it."""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

CURRENCY = "CNY"
# Sixteen digits are more than anybody owns; longer texts are no amounts, nor worth reading.
PLAIN_YUAN = re.compile(r"(?P<yuan>[0-9]{1,16})(\.(?P<fen>[0-9]{1,2}))?")
SHOWN_CHARACTERS = 32


@dataclass(frozen=True, order=True, slots=True)
class Money:
    """A non-negative amount in fen. Raises ValueError for a negative or non-integer amount."""

    fen: int

    def __post_init__(self) -> None:
        if type(self.fen) is not int or self.fen < 0:
            raise ValueError(f"an amount is a whole number of fen, not {self.fen!r}")

    def __add__(self, other: Self) -> "Money":
        return Money(self.fen + other.fen)

    def share(self, rate: Fraction) -> "Money":
        """This amount times `rate`, rounded half-up to fen.

        Half-up agrees with published figures: 6326 × 20 % × 2/3 = 843.466… → 843.47 yuan
        (Beijing, subsidy for flexible workers).
        """
        exact = self.fen * rate
        return Money(int((2 * exact.numerator + exact.denominator) // (2 * exact.denominator)))

    @property
    def yuan(self) -> str:
        """For people: `1,454.00`."""
        return f"{self.fen // 100:,}.{self.fen % 100:02d}"

    @classmethod
    def of_yuan(cls, yuan: str) -> "Money":
        """Read a plain amount such as `1454.00`, `1454.5` or `1454`, as channels write it.

        Raises ValueError for everything else: text for people (`1,454.00`), signs, exponents,
        spaces, digits other than ASCII, more than two decimals (parts of a fen).
        """
        amount = PLAIN_YUAN.fullmatch(yuan)
        if amount is None:
            raise ValueError(
                f"{yuan[:SHOWN_CHARACTERS]!r} is no plain amount with a whole number of fen"
            )
        return cls(int(amount["yuan"]) * 100 + int((amount["fen"] or "").ljust(2, "0")))
