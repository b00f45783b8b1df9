"""Words for people, Chinese first: what every service says alike is said here once."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from shared.kernel.clock import SHANGHAI

# Not strftime: %B depends on the locale of the process.
MONTHS_EN = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


class Language(StrEnum):
    """The languages there are words in."""

    ZH = "zh"
    EN = "en"


class Wording(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same words in both languages; `{channel}` and the like may stand in them."""

    zh: str
    en: str

    def in_language(self, language: Language) -> str:
        return self.zh if language is Language.ZH else self.en

    def filled(self, **facts: "str | Wording") -> "Wording":
        """With each `{name}` replaced; raises KeyError for one that is not among the facts."""
        return Wording(
            **{
                language.value: self.in_language(language).format_map(_spoken(facts, language))
                for language in Language
            }
        )


def _spoken(facts: "dict[str, str | Wording]", language: Language) -> dict[str, str]:
    return {
        name: fact.in_language(language) if isinstance(fact, Wording) else fact
        for name, fact in facts.items()
    }


def clock_words(instant: datetime, *, language: Language, now: datetime) -> str:
    """`14:05` in China; where that is not today there, `11月25日 14:05`, `14:05 on 25 November`."""
    there, today = instant.astimezone(SHANGHAI), now.astimezone(SHANGHAI)
    time = f"{there:%H:%M}"
    if there.date() == today.date():
        return time
    if language is Language.ZH:
        return f"{there.month}月{there.day}日 {time}"
    return f"{time} on {there.day} {MONTHS_EN[there.month - 1]}"


def month_words(period: str, language: Language) -> str:
    """Of the month `YYYY-MM`: `2026年11月`, `November 2026`."""
    year, month = period.split("-")
    if language is Language.ZH:
        return f"{year}年{int(month)}月"
    return f"{MONTHS_EN[int(month) - 1]} {year}"


def order_number(payment_order_id: UUID) -> str:
    """What people read out on the phone. The end of the id: its beginning is the time."""
    return payment_order_id.hex[-8:].upper()
