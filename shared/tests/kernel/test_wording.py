"""Words that every service says alike."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from shared.kernel.wording import Language, Wording, clock_words, month_words, order_number

# 14:05 in China.
SOME_TIME = datetime(2026, 11, 24, 6, 5, tzinfo=UTC)


def test_the_clock_is_that_of_china_and_has_a_date_only_if_that_is_not_today_there() -> None:
    last = datetime(2026, 11, 24, 15, 59, tzinfo=UTC)
    next_day = last + timedelta(minutes=1)

    for language in Language:
        assert clock_words(last, language=language, now=SOME_TIME) == "23:59"
    assert clock_words(next_day, language=Language.ZH, now=SOME_TIME) == "11月25日 00:00"
    assert clock_words(next_day, language=Language.EN, now=SOME_TIME) == "00:00 on 25 November"


def test_a_month_has_its_name() -> None:
    assert month_words("2026-01", Language.ZH) == "2026年1月"
    assert month_words("2026-01", Language.EN) == "January 2026"
    assert month_words("2026-12", Language.EN) == "December 2026"


def test_an_order_number_is_the_end_of_the_id() -> None:
    assert order_number(UUID("01932f4e-0000-7000-8000-0000c0ffee12")) == "C0FFEE12"


def test_a_wording_is_filled_with_the_words_of_each_language() -> None:
    channel = Wording(zh="支付宝", en="Alipay")

    filled = Wording("{channel}收到 {amount} 元", "{channel} got {amount} yuan").filled(
        channel=channel, amount="1.00"
    )

    assert filled.in_language(Language.ZH) == "支付宝收到 1.00 元"
    assert filled.in_language(Language.EN) == "Alipay got 1.00 yuan"


def test_a_wording_that_misses_a_fact_fails_loudly() -> None:
    with pytest.raises(KeyError):
        Wording("{amount}", "{amount}").filled(channel="支付宝")
