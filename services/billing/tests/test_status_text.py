"""The words people read: complete, in two languages, never more than is known."""

import re
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from services.billing.domain.contribution import LATE_MONEY, REFUNDED, ContributionStatus
from services.billing.domain.standard import load_standards
from services.billing.domain.status_for_person import StatusForPerson, status_for_person
from services.billing.domain.status_text import STATUS_TEXTS, Circumstance, circumstance_of
from services.billing.tests.builders import NOW, ORDER_LIFETIME, contribution
from shared.kernel.ids import new_id
from shared.kernel.wording import Language

HOTLINE = load_standards().regions.hotlines[0]
S = ContributionStatus
REASONS = [None, REFUNDED, LATE_MONEY, "something new", *(str(c) for c in Circumstance)]
PAYMENTS_FAILURE_REASONS = [
    "expired",
    "wrong_amount",
    "channel_unavailable",
    "insufficient_funds",
    "limit_exceeded",
    "account_restricted",
    "rejected",
]


def read(
    status: ContributionStatus, language: Language = Language.ZH, **fields: Any
) -> StatusForPerson:
    now = fields.pop("now", NOW)
    is_period_open = fields.pop("is_period_open", True)
    has_money = status in (S.PAID, S.CREDITED, S.CREDIT_REFUSED)
    paid = {"paid_by_attempt_id": new_id(), "paid_at": NOW} if has_money else {}
    return status_for_person(
        contribution(status=status, **paid, **fields),
        expires_at=NOW + ORDER_LIFETIME,
        is_period_open=is_period_open,
        support=HOTLINE,
        now=now,
        language=language,
    )


@pytest.mark.parametrize(
    ("status", "reason", "is_period_open", "is_overdue"),
    list(product(S, REASONS, (True, False), (True, False))),
)
def test_there_is_a_text_for_every_state_and_reason(
    status: ContributionStatus, reason: str | None, is_period_open: bool, is_overdue: bool
) -> None:
    circumstance = circumstance_of(
        contribution(status=status, reason=reason),
        is_period_open=is_period_open,
        is_overdue=is_overdue,
    )

    assert (status, circumstance) in STATUS_TEXTS


def test_every_circumstance_and_state_is_used() -> None:
    assert {status for status, _ in STATUS_TEXTS} == set(S)
    assert {circumstance for _, circumstance in STATUS_TEXTS} == set(Circumstance)


@pytest.mark.parametrize("reason", PAYMENTS_FAILURE_REASONS)
def test_every_reason_that_payment_gives_has_its_own_words(reason: str) -> None:
    found = circumstance_of(contribution(reason=reason), is_period_open=True, is_overdue=False)

    assert found == reason


@pytest.mark.parametrize("key", STATUS_TEXTS, ids=lambda key: "-".join(key))
def test_words_are_short_filled_and_free_of_codes(
    key: tuple[ContributionStatus, Circumstance],
) -> None:
    text = STATUS_TEXTS[key]
    chinese = [text.headline.zh, text.explanation.zh, text.next_step.zh]

    assert len(text.headline.zh) <= 14
    assert not re.search(r"[A-Za-z]", re.sub(r"\{\w+\}", "", "".join(chinese)))
    assert all(
        set(re.findall(r"\{(\w+)\}", words)) <= {"amount", "month", "by", "paid"}
        for line in (text.headline, text.explanation, text.next_step)
        for words in (line.zh, line.en)
    )


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("status", S)
def test_every_state_can_be_read(status: ContributionStatus, language: Language) -> None:
    shown = read(status, language)

    assert shown.headline
    assert "{" not in shown.explanation + shown.next_step
    assert shown.support_phone == "12366"


def test_paid_waits_to_be_credited() -> None:
    shown = read(S.PAID)

    assert shown.headline == "已缴费，等待入账"
    assert "12:30 收到 1,509.20 元" in shown.explanation
    assert not shown.can_pay


def test_an_open_order_is_not_paid_again_and_says_when_it_ends() -> None:
    shown = read(S.PAYMENT_PENDING, payment_order_id=new_id())

    assert shown.headline == "有一笔付款还没结束"
    assert "最晚 13:00 有结果" in shown.explanation
    assert shown.next_update_by == NOW + ORDER_LIFETIME
    assert (shown.can_pay, shown.can_retry) == (False, False)


def test_a_promise_that_passed_is_followed_by_the_next() -> None:
    passed = NOW + ORDER_LIFETIME + timedelta(minutes=10)

    shown = read(S.PAYMENT_PENDING, payment_order_id=new_id(), now=passed)

    assert shown.headline == "还没查到结果，请不要再付"
    assert shown.next_update_by == NOW + ORDER_LIFETIME + timedelta(minutes=20)


def test_a_time_on_another_day_carries_its_date() -> None:
    shown = read(S.PAID, now=NOW + timedelta(days=1))

    assert "11月24日 12:30" in shown.explanation


def test_nothing_was_charged_is_never_said_of_a_wrong_amount() -> None:
    text = STATUS_TEXTS[S.ASSESSED, Circumstance.WRONG_AMOUNT]

    assert "没有扣款" not in text.headline.zh + text.explanation.zh
    assert "退回" in text.explanation.zh


def test_a_failed_payment_can_be_tried_again_where_payment_says_so() -> None:
    again = read(S.ASSESSED, reason="insufficient_funds", can_retry=True)
    never = read(S.ASSESSED, reason="insufficient_funds", can_retry=False)

    assert (again.can_pay, again.can_retry) == (True, True)
    assert (never.can_pay, never.can_retry) == (True, False)


def test_a_month_that_is_over_cannot_be_paid() -> None:
    shown = read(S.ASSESSED, is_period_open=False)

    assert (shown.headline, shown.can_pay) == ("这个月现在不能缴了", False)
