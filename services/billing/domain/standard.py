"""Published base limits, rates and regions: effective-dated data with sources, read once.

Limits are data and never computed: published floors differ from 60 % of the average wage.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from shared.kernel.wording import Wording

NATIONAL = "CN"
FOLDER = Path(__file__).parent / "standards"

Kind = TypeVar("Kind", bound="Published")
Evidence = Literal["official", "secondary", "derived"]


class Published(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something in force from a day to a day, and known since it was published (bitemporal)."""

    id: str
    region: str
    effective_from: date
    effective_to: date | None
    published_at: date | None
    doc_no: str | None
    evidence: Evidence
    source: str

    @property
    def known_since(self) -> date:
        """Where the day of publication is not recorded, the first day in force."""
        return self.published_at or self.effective_from

    def covers(self, day: date) -> bool:
        return self.effective_from <= day and (
            self.effective_to is None or day <= self.effective_to
        )


class BaseStandard(Published, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of the contribution base; with tiers, only those amounts may be chosen.

    `provisional` says that the authority itself lets it apply only until a later notice.
    """

    schemes: tuple[str, ...]
    floor_fen: int
    ceiling_fen: int
    tiers_fen: tuple[int, ...] | None = None
    provisional: bool

    def __post_init__(self) -> None:
        if not 0 < self.floor_fen <= self.ceiling_fen:
            raise ValueError(f"{self.id}: the floor must be above zero and not above the ceiling")
        if self.tiers_fen is not None and list(self.tiers_fen) != sorted(set(self.tiers_fen)):
            raise ValueError(f"{self.id}: tiers must ascend")


class ShareRate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The part of the base that goes to one account, as a decimal string."""

    account: str
    rate: str

    @property
    def fraction(self) -> Fraction:
        return Fraction(self.rate)


class RateRule(Published, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of the base is owed, account by account."""

    scheme: str
    shares: tuple[ShareRate, ...]


class SchemePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scheme that is collected in a region, and the months that may be paid around today's."""

    scheme: str
    months_back: int
    months_ahead: int
    source: str


class Region(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A region that is covered, with the office that people can turn to."""

    region: str
    names: Wording
    office: Wording
    schemes: tuple[SchemePolicy, ...]


class Hotline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A public telephone service."""

    name: Wording
    phone: str


class Elsewhere(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names of divisions by the beginning of their code, to refer people to their own office."""

    source: str
    names: dict[str, Wording]


class Regions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `regions.json` holds."""

    covered: tuple[Region, ...]
    hotlines: tuple[Hotline, ...]
    elsewhere: Elsewhere


@dataclass(frozen=True, slots=True)
class Applicable:
    """The base standard that applies; `provisional` until the period's own is published."""

    standard: BaseStandard
    provisional: bool


@dataclass(frozen=True, slots=True)
class Standards:
    """Everything published that this service knows."""

    regions: Regions
    base_standards: tuple[BaseStandard, ...]
    rate_rules: tuple[RateRule, ...]

    def region(self, code: str) -> Region | None:
        return next((r for r in self.regions.covered if r.region == code), None)

    def policy(self, region: str, scheme: str) -> SchemePolicy | None:
        """The policy of a covered region and scheme, else None."""
        found = self.region(region)
        return next((p for p in found.schemes if p.scheme == scheme), None) if found else None

    def base_standard(
        self, region: str, scheme: str, *, period: str, known_on: date
    ) -> Applicable | None:
        """What applies to a month as far as it was known on a day.

        Where no standard of that month is published, the last one applies, provisionally.
        """
        day = first_day(period)
        known = [
            standard
            for standard in self.base_standards
            if standard.region == region
            and scheme in standard.schemes
            and standard.known_since <= known_on
            and standard.effective_from <= day
        ]
        current = _latest([standard for standard in known if standard.covers(day)])
        if current is not None:
            return Applicable(current, current.provisional)
        last = _latest(known)
        return Applicable(last, provisional=True) if last is not None else None

    def rate_rule(
        self, region: str, scheme: str, *, period: str, known_on: date
    ) -> RateRule | None:
        """The region's own rate where it has one, else the national one."""
        day = first_day(period)
        known = [
            rule
            for rule in self.rate_rules
            if rule.scheme == scheme and rule.known_since <= known_on and rule.covers(day)
        ]
        own = _latest([rule for rule in known if rule.region == region])
        return own or _latest([rule for rule in known if rule.region == NATIONAL])


def load_standards(folder: Path = FOLDER) -> Standards:
    """Read the data files; raises msgspec.ValidationError where one breaks its schema."""
    return Standards(
        regions=msgspec.json.decode((folder / "regions.json").read_bytes(), type=Regions),
        base_standards=msgspec.json.decode(
            (folder / "base_limits.json").read_bytes(), type=tuple[BaseStandard, ...]
        ),
        rate_rules=msgspec.json.decode(
            (folder / "rates.json").read_bytes(), type=tuple[RateRule, ...]
        ),
    )


def first_day(period: str) -> date:
    """The first day of a month `YYYY-MM`."""
    return date.fromisoformat(f"{period}-01")


def _latest(candidates: Sequence[Kind]) -> Kind | None:
    """The one in force last; of two for the same time, the one published last."""
    return max(candidates, key=lambda p: (p.effective_from, p.known_since), default=None)
