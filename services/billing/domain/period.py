"""Months as `YYYY-MM`, and the ones that may be paid around the current one."""

from services.billing.domain.standard import SchemePolicy


def allowed_periods(policy: SchemePolicy, current: str) -> list[str]:
    """Oldest first; the policy of a region says how far back and ahead."""
    return [
        shift(current, months) for months in range(-policy.months_back, policy.months_ahead + 1)
    ]


def shift(period: str, months: int) -> str:
    """The month so many months later; earlier for a negative number."""
    year, month = (int(part) for part in period.split("-"))
    years, index = divmod(year * 12 + month - 1 + months, 12)
    return f"{years:04d}-{index + 1:02d}"
