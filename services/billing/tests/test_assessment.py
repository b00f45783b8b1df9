"""Assessment against published figures; the vectors name the source of every case."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.domain.assessment import assess, check_base, shares_of
from services.billing.domain.standard import Standards, load_standards
from shared.kernel.errors import Refused
from shared.kernel.money import Money

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent / "vectors" / "contribution_employee_flexible.json").read_text()
)
CODES = {"北京": "110000", "上海": "310000", "江苏": "320000"}
FLEXIBLE = [case for case in VECTORS["amount_cases"] if case["scheme"] == "flexible"]
LATER = date(2026, 11, 24)
STANDARDS = load_standards()


def noon_in(period: str) -> datetime:
    year, month = (int(part) for part in period.split("-"))
    return datetime(year, month, 20, 4, 0, tzinfo=UTC)


def assess_now(base: int, *, region: str = "310000", at: str = "2026-11", **fields: Any) -> Any:
    wanted = {"scheme": "flexible", "period": at} | fields
    return assess(STANDARDS, region=region, base=Money(base), at=noon_in(at), **wanted)


@pytest.mark.parametrize("case", FLEXIBLE, ids=lambda case: case["id"])
def test_shares_and_amount_agree_with_the_vectors(case: dict[str, Any]) -> None:
    # Zhejiang is not covered, so that its case checks the national rate alone
    region = CODES.get(case["region"], "330000")
    base = Money.of_yuan(case["assessed_base_yuan"])
    rule = STANDARDS.rate_rule(region, "flexible", period=case["period"], known_on=LATER)
    assert rule is not None

    shares = {share.account: share.amount_fen for share in shares_of(base, rule)}

    assert sum(shares.values()) == case["total_fen"]
    if "pooled_fen" in case:
        assert shares["pooled"] == case["pooled_fen"]
        assert shares["personal_account"] == case["personal_account_fen"]


@pytest.mark.parametrize(
    "limits",
    [row for row in VECTORS["base_limits"] if row["region_code"] in CODES.values()],
    ids=lambda row: f"{row['region_code']}-{row['effective_from']}",
)
def test_limits_are_the_published_ones(limits: dict[str, Any]) -> None:
    period = limits["effective_from"][:7]

    applicable = STANDARDS.base_standard(
        limits["region_code"], "flexible", period=period, known_on=LATER
    )

    assert applicable is not None
    assert applicable.standard.floor_fen == limits["floor_yuan"] * 100
    assert applicable.standard.ceiling_fen == limits["ceiling_yuan"] * 100
    assert applicable.provisional == (limits["status"] == "provisional")


def test_shanghai_takes_24_percent_until_february_2024() -> None:
    before = STANDARDS.rate_rule("310000", "flexible", period="2024-02", known_on=LATER)
    after = STANDARDS.rate_rule("310000", "flexible", period="2024-03", known_on=LATER)
    assert before is not None
    assert after is not None

    owed_before = sum(share.amount_fen for share in shares_of(Money(731_000), before))
    owed_after = sum(share.amount_fen for share in shares_of(Money(731_000), after))

    assert (owed_before, owed_after) == (175_440, 146_200)


def test_current_month_is_assessed_by_its_published_standard() -> None:
    assessment = assess_now(754_600)

    assert assessment.amount == Money(150_920)
    assert [(s.account, s.amount_fen) for s in assessment.shares] == [
        ("personal_account", 60_368),
        ("pooled", 90_552),
    ]
    assert assessment.rule_id == "310000-base-2026-07+310000-flexible-rate-2024-03"
    assert not assessment.provisional


def test_standard_is_unknown_before_it_was_published() -> None:
    """Beijing's limits for 2025-07 came out on 2025-09-18."""
    before = STANDARDS.base_standard(
        "110000", "flexible", period="2025-08", known_on=date(2025, 9, 17)
    )
    after = STANDARDS.base_standard(
        "110000", "flexible", period="2025-08", known_on=date(2025, 9, 18)
    )
    assert before is not None
    assert after is not None

    assert (before.standard.id, before.provisional) == ("110000-base-2024-07", True)
    assert (after.standard.id, after.provisional) == ("110000-base-2025-07", False)


def test_last_standard_applies_provisionally_where_none_is_published_yet() -> None:
    assessment = assess_now(754_600, at="2027-07")

    assert assessment.provisional
    assert assessment.rule_id.startswith("310000-base-2026-07")


def test_jiangsu_is_provisional_as_its_authority_says() -> None:
    assessment = assess_now(600_000, region="320000")

    assert (assessment.amount, assessment.provisional) == (Money(120_000), True)


@pytest.mark.parametrize("base", [754_599, 3_773_101, 1])
def test_base_outside_of_the_limits_is_refused_with_them(base: int) -> None:
    with pytest.raises(Refused) as refusal:
        assess_now(base)

    assert (refusal.value.code, refusal.value.status) == ("base_out_of_range", 422)
    assert refusal.value.extra["floor_fen"] == 754_600
    assert refusal.value.extra["ceiling_fen"] == 3_773_100


@pytest.mark.parametrize("base", [754_600, 3_773_100])
def test_floor_and_ceiling_themselves_are_allowed(base: int) -> None:
    assert assess_now(base).base == Money(base)


@pytest.mark.parametrize("base", [495_199, 495_201, 599_999, 2_476_300])
def test_base_that_is_no_tier_is_refused_with_the_tiers(base: int) -> None:
    with pytest.raises(Refused) as refusal:
        assess_now(base, region="320000")

    tiers = refusal.value.extra["tiers_fen"]
    assert (refusal.value.code, refusal.value.status) == ("base_not_a_tier", 422)
    assert isinstance(tiers, list)
    assert (tiers[0], tiers[-1], len(tiers)) == (495_200, 2_476_200, 12)


@pytest.mark.parametrize("period", ["2026-10", "2026-12", "2025-11"])
def test_other_months_are_refused_with_the_allowed_ones(period: str) -> None:
    with pytest.raises(Refused) as refusal:
        assess_now(754_600, period=period)

    assert (refusal.value.code, refusal.value.status) == ("period_not_allowed", 422)
    assert refusal.value.extra["allowed_periods"] == ["2026-11"]


def test_month_is_that_of_china() -> None:
    """On 30 November at 16:00 UTC December has begun in China."""
    at = datetime(2026, 11, 30, 16, 0, tzinfo=UTC)

    assessment = assess(
        STANDARDS,
        scheme="flexible",
        region="310000",
        period="2026-12",
        base=Money(754_600),
        at=at,
    )

    assert assessment.period == "2026-12"


@pytest.mark.parametrize(
    ("region", "scheme"),
    [
        ("340100", "flexible"),
        ("310000", "employee"),
        ("310000", "resident"),
        ("000000", "flexible"),
    ],
)
def test_uncovered_region_is_refused_with_where_to_turn(region: str, scheme: str) -> None:
    with pytest.raises(Refused) as refusal:
        assess_now(754_600, region=region, scheme=scheme)

    assert (refusal.value.code, refusal.value.status) == ("region_not_covered", 422)
    assert refusal.value.extra["hotline"] == "12366"
    assert "税务局" in str(refusal.value.extra["office"])


@given(base=st.integers(min_value=754_600, max_value=3_773_100))
def test_amount_is_the_sum_of_its_rounded_shares(base: int) -> None:
    assessment = assess_now(base)

    assert assessment.amount.fen == sum(share.amount_fen for share in assessment.shares)
    assert abs(assessment.amount.fen * 5 - base) <= 5


def test_each_share_is_rounded_half_up_by_itself() -> None:
    """15234.56 yuan: 8 % = 1218.7648, 12 % = 1828.1472."""
    shares = assess_now(1_523_456).shares

    assert [share.amount_fen for share in shares] == [121_876, 182_815]


def test_every_covered_scheme_has_limits_and_rates_today() -> None:
    for region in STANDARDS.regions.covered:
        for policy in region.schemes:
            found = STANDARDS.base_standard(
                region.region, policy.scheme, period="2026-11", known_on=LATER
            )
            assert found is not None
            assert STANDARDS.rate_rule(
                region.region, policy.scheme, period="2026-11", known_on=LATER
            )


def test_data_names_a_source_everywhere_and_no_id_twice() -> None:
    published = [*STANDARDS.base_standards, *STANDARDS.rate_rules]

    assert all(item.source for item in published)
    assert len({item.id for item in published}) == len(published)


def test_limits_are_checked_when_there_are_no_tiers() -> None:
    standard = _standard(STANDARDS, "110000-base-2026-07")

    check_base(standard, Money(727_000), provisional=False)
    with pytest.raises(Refused):
        check_base(standard, Money(726_999), provisional=False)


def _standard(standards: Standards, wanted: str) -> Any:
    return next(item for item in standards.base_standards if item.id == wanted)
