"""Coverage: whether a region and scheme can be paid here, and whom to turn to if not."""

from dataclasses import dataclass
from datetime import datetime

from services.billing.domain.period import allowed_periods
from services.billing.domain.refusal import BillingRefused, refused
from services.billing.domain.standard import (
    BaseStandard,
    Hotline,
    SchemePolicy,
    Standards,
)
from shared.kernel.clock import SHANGHAI, shanghai_month
from shared.kernel.wording import Language, Wording

OFFICE_ANYWHERE = Wording(zh="当地税务局办税服务厅", en="The tax service hall of your place")
NOT_COVERED = Wording(
    zh="还不能给{place}缴费。没有收您的钱，也没有留下您的证件号。"
    "可以打 {phone}，或者去{office}办理。",
    en="We cannot take payments for {place} yet. Nothing was charged or stored. "
    "You can call {phone} or go to: {office}.",
)
BY_EMPLOYER = Wording(
    zh="单位职工由单位申报缴费，不用自己缴。要核对记录，可以打 {phone}，或者去{office}。",
    en="Employers declare and pay for their employees; you need not pay yourself. "
    "To check your record, call {phone} or go to: {office}.",
)
COVERED = Wording(
    zh="可以在这里给{place}缴费。有疑问可以打 {phone}，或者去{office}。",
    en="You can pay for {place} here. For questions, call {phone} or go to: {office}.",
)
THIS_REGION = Wording(zh="这个地区", en="this region")


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """The answer before anybody starts; `standard` is there exactly when it is covered."""

    region: str
    scheme: str
    name: Wording | None
    standard: BaseStandard | None
    provisional: bool
    allowed_periods: list[str]
    office: Wording
    hotlines: tuple[Hotline, ...]
    message: Wording

    @property
    def covered(self) -> bool:
        return self.standard is not None


def not_covered(standards: Standards, region: str, scheme: str) -> BillingRefused:
    """Refused with `region_not_covered` and with whom to turn to instead."""
    referral = _referral(standards, region, scheme)
    return refused(
        "region_not_covered",
        fill={"message": referral.message},
        office=referral.office.zh,
        hotline=referral.hotlines[0].phone,
        hotlines=hotlines_for_people(referral.hotlines, Language.ZH),
    )


def covered_policy(standards: Standards, region: str, scheme: str) -> SchemePolicy:
    """Raises Refused where the region or the scheme is not collected here."""
    policy = standards.policy(region, scheme)
    if policy is None:
        raise not_covered(standards, region, scheme)
    return policy


def coverage_of(standards: Standards, *, region: str, scheme: str, at: datetime) -> Coverage:
    """What can be paid for a region and scheme at an instant."""
    found, policy = standards.region(region), standards.policy(region, scheme)
    if found is None or policy is None:
        return _referral(standards, region, scheme)
    current = shanghai_month(at)
    applicable = standards.base_standard(
        region, scheme, period=current, known_on=at.astimezone(SHANGHAI).date()
    )
    if applicable is None:
        return _referral(standards, region, scheme)
    return Coverage(
        region=region,
        scheme=scheme,
        name=found.names,
        standard=applicable.standard,
        provisional=applicable.provisional,
        allowed_periods=allowed_periods(policy, current),
        office=found.office,
        hotlines=standards.regions.hotlines,
        message=_words(COVERED, found.names, found.office, standards.regions.hotlines),
    )


def hotlines_for_people(hotlines: tuple[Hotline, ...], language: Language) -> list[dict[str, str]]:
    return [{"name": line.name.in_language(language), "phone": line.phone} for line in hotlines]


def _referral(standards: Standards, region: str, scheme: str) -> Coverage:
    name, office = _place(standards, region)
    template = BY_EMPLOYER if scheme == "employee" else NOT_COVERED
    return Coverage(
        region=region,
        scheme=scheme,
        name=name,
        standard=None,
        provisional=False,
        allowed_periods=[],
        office=office,
        hotlines=standards.regions.hotlines,
        message=_words(template, name, office, standards.regions.hotlines),
    )


def _place(standards: Standards, region: str) -> tuple[Wording | None, Wording]:
    """The name, where exactly this place has one here, and the tax office of its province."""
    names = standards.regions.elsewhere.names
    name = names.get(region[:4]) if region.endswith("00") else None
    name = name or (names.get(region[:2]) if region.endswith("0000") else None)
    wider = names.get(region[:4]) or names.get(region[:2])
    covered = standards.region(region)
    if covered is not None:
        return covered.names, covered.office
    if wider is None:
        return None, OFFICE_ANYWHERE
    return name, Wording(
        zh=f"国家税务总局{wider.zh}税务局办税服务厅",
        en=f"Tax service hall of the {wider.en} Tax Service",
    )


def _words(
    template: Wording, name: Wording | None, office: Wording, hotlines: tuple[Hotline, ...]
) -> Wording:
    place, phone = name or THIS_REGION, hotlines[0].phone
    return Wording(
        zh=template.zh.format(place=place.zh, phone=phone, office=office.zh),
        en=template.en.format(place=place.en, phone=phone, office=office.en),
    )
