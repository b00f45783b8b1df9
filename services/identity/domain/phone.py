"""A person's phone number; it shows itself masked wherever it is printed by accident."""

from dataclasses import dataclass

# Mainland mobile numbers are shown as `138****8000`, the form people know from other services.
MAINLAND = "+86"
VISIBLE_HEAD = 3
VISIBLE_TAIL = 4


@dataclass(frozen=True, slots=True, repr=False)
class Phone:
    """A valid number in E.164, such as `+8613800138000`."""

    e164: str

    @property
    def masked(self) -> str:
        """The first three and last four digits; for other countries only the last four."""
        is_mainland = self.e164.startswith(MAINLAND)
        digits = self.e164.removeprefix(MAINLAND if is_mainland else "+")
        head = VISIBLE_HEAD if is_mainland else 0
        hidden = len(digits) - head - VISIBLE_TAIL
        return digits[:head] + "*" * hidden + digits[-VISIBLE_TAIL:]

    def __repr__(self) -> str:
        return f"Phone({self.masked})"
