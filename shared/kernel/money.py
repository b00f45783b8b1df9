"""Money is an integer number of fen (1/100 yuan); there is no float anywhere near it."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Self

CURRENCY = "CNY"


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
        """Read a published amount in yuan; raises ValueError where it has parts of a fen."""
        fen = Decimal(yuan) * 100
        if fen != fen.to_integral_value(ROUND_HALF_UP):
            raise ValueError(f"{yuan} yuan is not a whole number of fen")
        return cls(int(fen))
