"""Every announcement has its words, in each language, for each role and reason."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import UUID

import pytest

from services.notifier.adapters.jinja_texts import JinjaTexts, load
from services.notifier.domain.announcements import ANNOUNCEMENTS
from services.notifier.domain.notifications import Bill, Channel, Facts, Role
from shared.kernel.ids import new_id
from shared.kernel.wording import Language

TEXTS = JinjaTexts(hotline="12366")
ORDER = UUID("01a20c10-f341-7b80-8c58-41cbf27145f8")
FACTS = Facts(amount_fen=145_400)
# 14:05 in China
TOLD_AT = datetime(2026, 11, 24, 6, 5, tzinfo=UTC)
REASONS = load(Language.ZH)["failure_reasons"].keys() | load(Language.ZH)["refund_reasons"].keys()
# A Chinese SMS of 70 characters is one message; two are the most that we pay for.
SMS_CHARACTERS_MAX = 134


@dataclass(frozen=True, kw_only=True)
class News:
    template: str
    role: Role = Role.INSURED
    payment_order_id: UUID | None = ORDER
    bill: Bill | None = None
    facts: Facts = FACTS
    occurred_at: datetime = TOLD_AT


def _bill() -> Bill:
    return Bill(contribution_id=new_id(), scheme="flexible", region="110000", period="2026-11")


def _reasons_of(template: str) -> list[str | None]:
    """Failures and refunds always have one; a new one may come that we do not know yet."""
    if template in ("payment_failed", "payment_refunded"):
        return ["nobody_knows_this", *sorted(REASONS)]
    return [None]


def _all_news() -> Iterator[News]:
    for announcement in ANNOUNCEMENTS.values():
        for role, bill in product(Role, (None, _bill())):
            for facts in _all_facts(announcement.template):
                yield News(template=announcement.template, role=role, bill=bill, facts=facts)


def _all_facts(template: str) -> Iterator[Facts]:
    if template == "payment_delayed":
        for hours in (2, 24):
            yield _delay(hours).facts
        return
    for reason, can_retry in product(_reasons_of(template), (True, False)):
        yield Facts(amount_fen=145_400, reason=reason, can_retry=can_retry)


def _delay(hours: int) -> News:
    promised = TOLD_AT + timedelta(hours=hours)
    facts = Facts(amount_fen=145_400, next_update_by=promised)
    return News(template="payment_delayed", bill=_bill(), facts=facts)


@pytest.mark.parametrize("language", list(Language))
def test_every_text_is_complete(language: Language) -> None:
    for news in _all_news():
        words = TEXTS.inbox(news, language)
        assert words.title
        assert "1,454.00" in words.title + words.text, news
        for text in (words.title, words.text):
            assert "{" not in text
            assert "None" not in text


@pytest.mark.parametrize("language", list(Language))
def test_every_sms_is_complete_short_and_without_links_or_promises(language: Language) -> None:
    with_sms = {a.template for a in ANNOUNCEMENTS.values() if Channel.SMS in a.channels}
    for news in _all_news():
        if news.template not in with_sms:
            continue
        sms = TEXTS.sms(news, language)
        assert "1,454.00" in sms.text, news
        assert "{" not in sms.text
        assert not re.search(r"https?://|www\.", sms.text)
        assert "已入账" not in sms.text
        assert "credited" not in sms.text.replace("not yet credited", "")
        if language is Language.ZH:
            assert sms.text.startswith("【松鹤】")
            assert len(sms.text) <= SMS_CHARACTERS_MAX, sms.text


def test_a_settled_sms_says_what_was_received_and_that_nothing_is_to_do() -> None:
    text = TEXTS.sms(News(template="payment_settled", bill=_bill()), Language.ZH).text

    assert "2026年11月" in text
    assert "1,454.00元" in text
    assert "不用再付" in text
    assert "等待税务入账" in text


def test_a_delay_says_by_when_the_next_news_come_and_not_to_pay_again() -> None:
    today, tomorrow = (TEXTS.sms(_delay(hours), Language.ZH).text for hours in (2, 24))
    english = TEXTS.sms(_delay(24), Language.EN).text
    title = TEXTS.inbox(_delay(2), Language.ZH).title

    assert "最晚16:05再告诉您" in today
    assert "最晚11月25日 14:05再告诉您" in tomorrow
    assert "We will let you know by 14:05 on 25 November" in english
    assert "请不要再付" in today
    assert "没有扣款" not in today
    assert len(title) <= 14


def test_both_languages_have_the_same_texts() -> None:
    chinese, english = load(Language.ZH), load(Language.EN)

    for part in ("inbox", "sms", "failure_reasons", "refund_reasons", "bill"):
        assert chinese[part].keys() == english[part].keys(), part
