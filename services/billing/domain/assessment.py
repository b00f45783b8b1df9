"""Assessment: what is owed for one month, computed from published standards only."""

from dataclasses import dataclass
from datetime import datetime

from services.billing.domain.coverage import covered_policy, not_covered
from services.billing.domain.period import allowed_periods
from services.billing.domain.refusal import BillingRefused, refused
from services.billing.domain.standard import BaseStandard, RateRule, Standards
from shared.kernel.clock import SHANGHAI, shanghai_month
from shared.kernel.events import Share
from shared.kernel.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """The amount owed for a period, and the published rules that it follows from."""

    scheme: str
    region: str
    period: str
    base: Money
    amount: Money
    shares: tuple[Share, ...]
    rule_id: str
    provisional: bool


def assess(
    standards: Standards, *, scheme: str, region: str, period: str, base: Money, at: datetime
) -> Assessment:
    """Compute what is owed by what is known at an instant.

    Raises Refused: `region_not_covered`, `period_not_allowed`, `base_out_of_range`,
    `base_not_a_tier`; each with what would be allowed.
    """
    policy = covered_policy(standards, region, scheme)
    check_period(allowed_periods(policy, shanghai_month(at)), period)
    known_on = at.astimezone(SHANGHAI).date()
    applicable = standards.base_standard(region, scheme, period=period, known_on=known_on)
    rule = standards.rate_rule(region, scheme, period=period, known_on=known_on)
    if applicable is None or rule is None:
        raise not_covered(standards, region, scheme)
    check_base(applicable.standard, base, provisional=applicable.provisional)
    shares = shares_of(base, rule)
    return Assessment(
        scheme=scheme,
        region=region,
        period=period,
        base=base,
        amount=Money(sum(share.amount_fen for share in shares)),
        shares=shares,
        rule_id=f"{applicable.standard.id}+{rule.id}",
        provisional=applicable.provisional,
    )


def shares_of(base: Money, rule: RateRule) -> tuple[Share, ...]:
    """Each share is rounded half-up to fen by itself; the amount owed is their sum."""
    return tuple(
        Share(account=share.account, amount_fen=base.share(share.fraction).fen)
        for share in rule.shares
    )


def check_period(allowed: list[str], period: str) -> None:
    """Raises Refused with the allowed months: later payment is mostly forbidden."""
    if period not in allowed:
        fill = {"months": ", ".join(allowed)}
        raise refused("period_not_allowed", fill=fill, allowed_periods=allowed)


def check_base(standard: BaseStandard, base: Money, *, provisional: bool) -> None:
    """Raises Refused with the limits or tiers that were published."""
    limits: dict[str, object] = {
        "floor_fen": standard.floor_fen,
        "ceiling_fen": standard.ceiling_fen,
        "provisional": provisional,
    }
    if standard.tiers_fen is not None:
        if base.fen not in standard.tiers_fen:
            tiers = {"tiers_fen": list(standard.tiers_fen)}
            raise BillingRefused("base_not_a_tier", extra=tiers | limits)
    elif not standard.floor_fen <= base.fen <= standard.ceiling_fen:
        fill = {
            "floor": Money(standard.floor_fen).yuan,
            "ceiling": Money(standard.ceiling_fen).yuan,
        }
        raise BillingRefused("base_out_of_range", fill=fill, extra=limits)
