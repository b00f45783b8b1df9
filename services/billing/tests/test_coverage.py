"""Coverage: said before anybody starts, with an office and a number to call."""

from datetime import UTC, datetime

import pytest

from services.billing.domain.coverage import coverage_of
from services.billing.domain.period import allowed_periods, shift
from services.billing.domain.standard import SchemePolicy, load_standards

NOW = datetime(2026, 11, 24, 4, 30, tzinfo=UTC)
STANDARDS = load_standards()


def test_covered_region_tells_months_limits_and_office() -> None:
    coverage = coverage_of(STANDARDS, region="110000", scheme="flexible", at=NOW)

    assert coverage.covered
    assert coverage.allowed_periods == ["2026-11"]
    assert coverage.standard is not None
    assert (coverage.standard.floor_fen, coverage.standard.ceiling_fen) == (727_000, 3_634_800)
    assert coverage.office.zh == "国家税务总局北京市税务局办税服务厅"


def test_region_with_tiers_tells_them() -> None:
    coverage = coverage_of(STANDARDS, region="320000", scheme="flexible", at=NOW)

    assert coverage.provisional
    assert coverage.standard is not None
    assert coverage.standard.tiers_fen is not None
    assert coverage.standard.tiers_fen[0] == 495_200


@pytest.mark.parametrize(
    ("region", "words"),
    [
        ("340000", "还不能给安徽省缴费"),
        ("340100", "还不能给这个地区缴费"),
        ("440300", "还不能给深圳市缴费"),
        ("710000", "还不能给这个地区缴费"),
    ],
)
def test_uncovered_region_is_named_only_where_its_name_is_sure(region: str, words: str) -> None:
    coverage = coverage_of(STANDARDS, region=region, scheme="flexible", at=NOW)

    assert not coverage.covered
    assert coverage.message.zh.startswith(words)
    assert "12366" in coverage.message.zh
    assert "12366" in coverage.message.en


def test_uncovered_place_is_referred_to_the_office_of_its_province() -> None:
    coverage = coverage_of(STANDARDS, region="340100", scheme="flexible", at=NOW)

    assert coverage.office.zh == "国家税务总局安徽省税务局办税服务厅"
    assert [line.phone for line in coverage.hotlines] == ["12366", "12333"]


def test_employees_hear_that_their_employer_pays() -> None:
    coverage = coverage_of(STANDARDS, region="310000", scheme="employee", at=NOW)

    assert not coverage.covered
    assert "由单位申报缴费" in coverage.message.zh


def test_months_follow_the_policy_across_a_year() -> None:
    policy = SchemePolicy("flexible", months_back=2, months_ahead=1, source="made for this test")

    assert allowed_periods(policy, "2026-01") == ["2025-11", "2025-12", "2026-01", "2026-02"]
    assert shift("2026-12", 1) == "2027-01"
