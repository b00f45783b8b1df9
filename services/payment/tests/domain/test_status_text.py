"""Every situation of an order has its words, in both languages, and they keep the rules."""

import re
from datetime import timedelta

import pytest
from msgspec.structs import replace

from services.payment.domain.failure_reason import FailureReason
from services.payment.domain.payment_attempt import AttemptStatus, MoneyDecision, PaymentAttempt
from services.payment.domain.payment_order import (
    CHOSEN_BY_PAYER,
    OrderStatus,
    PaymentOrder,
    Settlement,
    accept_money,
    fail,
    settle,
)
from services.payment.domain.situation import Situation, Standing, standing_of
from services.payment.domain.status_text import (
    TEXTS,
    StatusForPerson,
    describe,
)
from services.payment.tests.building import (
    AMOUNT,
    EXPIRES_AT,
    an_attempt,
    an_order,
    an_unknown_attempt,
)
from shared.kernel.ids import new_id
from shared.kernel.wording import Language, Wording, clock_words
from testing.builders import SOME_TIME

ALIPAY = Wording(zh="支付宝", en="Alipay")
HEADLINE_CHARACTERS_MAX = 14
PLACEHOLDER = re.compile(r"\{[a-z]+\}")
FORBIDDEN = re.compile(r"系统|繁忙|稍后再|失败|失效|订单已关闭|ERR|[0-9]{3}\b|成功")
# The channel said so, or nothing was ever sent.
SURELY_NOT_CHARGED = {
    Situation.EXPIRED,
    Situation.CHANNEL_UNAVAILABLE,
    Situation.INSUFFICIENT_FUNDS,
    Situation.LIMIT_EXCEEDED,
    Situation.ACCOUNT_RESTRICTED,
    Situation.REJECTED,
    Situation.WAITING_AFTER_DECLINE,
}


@pytest.mark.parametrize("situation", list(Situation))
def test_every_situation_has_words_in_both_languages(situation: Situation) -> None:
    text = TEXTS[situation]

    for words in (text.zh, text.en):
        assert words.headline
        assert words.explanation
        assert words.next_step
    assert not re.search(r"[A-Za-z]", PLACEHOLDER.sub("", "".join((text.zh.headline,))))
    assert len(PLACEHOLDER.sub("", text.zh.headline)) <= HEADLINE_CHARACTERS_MAX
    zh = text.zh.headline + text.zh.explanation + text.zh.next_step
    assert not FORBIDDEN.search(zh)
    assert ("没有扣款" in zh) == (situation in SURELY_NOT_CHARGED)
    assert not (text.can_pay and text.can_retry)


def test_what_is_unknown_forbids_paying_again() -> None:
    for situation in (Situation.UNKNOWN, Situation.UNKNOWN_STILL, Situation.UNKNOWN_CASE):
        text = TEXTS[situation]
        assert "请不要再付" in text.zh.headline + text.zh.explanation
        assert "not pay again" in text.en.headline + text.en.explanation
        assert not text.can_pay
        assert not text.can_retry


@pytest.mark.parametrize("reason", list(FailureReason))
def test_every_reason_has_its_situation(reason: FailureReason) -> None:
    order = fail(an_order(), reason)

    standing = standing_of(order, [], now=SOME_TIME)

    assert standing.situation.value == reason.value
    assert TEXTS[standing.situation].can_retry == reason.can_retry


def shown(
    order: PaymentOrder,
    *attempts: PaymentAttempt,
    after: timedelta = timedelta(0),
    language: Language = Language.ZH,
) -> tuple[Standing, StatusForPerson]:
    now = SOME_TIME + after
    standing = standing_of(order, attempts, now=now)
    return standing, describe(order, standing, channel=ALIPAY, language=language, now=now)


def test_an_order_without_an_attempt_waits_for_its_payer_until_it_expires() -> None:
    order = an_order()

    waiting, status = shown(order)
    over, _ = shown(order, after=timedelta(minutes=30))

    assert waiting.situation is Situation.WAITING_FOR_PAYER
    assert status.headline == "等您付款"
    assert "请在 13:00 前付" in status.explanation
    assert status.next_step == "去支付宝付款"
    assert status.can_pay
    assert over.situation is Situation.CLOSING_ORDER


def test_a_started_attempt_is_asked_about_for_15_seconds_and_unknown_afterwards() -> None:
    order = an_order()
    attempt = an_attempt(order)

    asking, status = shown(order, attempt, after=timedelta(seconds=14))
    over, _ = shown(order, attempt, after=timedelta(seconds=15))

    assert asking.situation is Situation.ASKING_CHANNEL
    assert asking.next_update_by == SOME_TIME + timedelta(seconds=15)
    assert status.headline == "正在向支付宝查结果"
    assert not status.can_pay
    assert over.situation is Situation.UNKNOWN


def test_unknown_is_shown_truthfully_with_a_promise_that_is_never_over() -> None:
    order = an_order()
    attempt = an_unknown_attempt(order)
    seen = []
    for minutes in range(0, 60 * 60, 7):
        after = timedelta(minutes=minutes)
        standing, status = shown(order, attempt, after=after)
        assert standing.next_update_by is not None
        assert standing.next_update_by > SOME_TIME + after
        assert not status.can_pay
        seen.append(standing.situation)

    assert list(dict.fromkeys(seen)) == [
        Situation.UNKNOWN,
        Situation.UNKNOWN_STILL,
        Situation.UNKNOWN_CASE,
    ]
    _, first = shown(order, attempt)
    assert first.headline == "还没查到结果，请不要再付"
    assert "最晚 12:45" in first.explanation
    _, second = shown(order, attempt, after=timedelta(minutes=15))
    assert second.headline == "仍在查询，下次 14:30 告诉您"


def at_a_cashier(order: PaymentOrder, **fields: object) -> PaymentAttempt:
    waiting = {"method": "wap", "status": AttemptStatus.AWAITING_PAYER}
    return an_attempt(order, **waiting | fields)


@pytest.mark.parametrize(
    ("fields", "situation"),
    [
        ({}, Situation.WAITING_IN_CASHIER),
        ({"status": AttemptStatus.STARTED}, Situation.WAITING_FOR_PAYER),
        ({"status": AttemptStatus.DECLINED}, Situation.WAITING_AFTER_DECLINE),
        ({"status": AttemptStatus.CLOSED}, Situation.WAITING_FOR_PAYER),
        ({"close_wanted_at": SOME_TIME}, Situation.CLOSING_ATTEMPT),
        (
            {"close_wanted_at": SOME_TIME, "last_not_there_at": SOME_TIME},
            Situation.WAITING_FOR_PAYER,
        ),
        ({"last_not_there_at": SOME_TIME}, Situation.WAITING_IN_CASHIER),
        ({"asked_at": SOME_TIME}, Situation.ASKING_CHANNEL),
        ({"asked_at": SOME_TIME - timedelta(seconds=15)}, Situation.WAITING_IN_CASHIER),
    ],
)
def test_every_state_of_an_attempt_at_a_cashier_is_told(
    fields: dict[str, object], situation: Situation
) -> None:
    order = an_order()

    standing, status = shown(order, at_a_cashier(order, **fields))

    assert standing.situation is situation
    assert standing.next_update_by is not None
    assert status.can_pay == (situation is not Situation.ASKING_CHANNEL)


@pytest.mark.parametrize("fields", [None, {}, {"status": AttemptStatus.CLOSED}])
def test_in_the_last_minute_nobody_is_sent_to_begin(fields: dict[str, object] | None) -> None:
    order = an_order()
    attempts = [] if fields is None else [at_a_cashier(order, **fields)]

    standing, status = shown(order, *attempts, after=timedelta(minutes=29, seconds=1))

    assert standing.situation is Situation.WAITING_FOR_THE_END
    assert not status.can_pay
    assert status.next_update_by == EXPIRES_AT


def test_a_stopped_channel_is_told_only_to_those_who_would_begin_to_pay_there() -> None:
    order = an_order()
    attempt = at_a_cashier(order)
    stopped = {order.channel}

    waiting = standing_of(order, [], now=SOME_TIME, stopped=stopped)
    paying = standing_of(order, [attempt], now=SOME_TIME, stopped=stopped)

    assert waiting.situation is Situation.WAITING_CHANNEL_STOPPED
    assert paying.situation is Situation.WAITING_IN_CASHIER


def test_an_order_without_a_channel_waits_for_a_choice() -> None:
    standing, status = shown(an_order(channel=CHOSEN_BY_PAYER))

    assert standing.situation is Situation.WAITING_FOR_CHOICE
    assert status.headline == "等您选付款方式"


def test_after_the_time_to_pay_we_check_and_then_we_do_not_know() -> None:
    order = an_order()
    attempt = at_a_cashier(order)

    checking, status = shown(order, attempt, after=timedelta(minutes=30))
    unknown, _ = shown(order, attempt, after=timedelta(minutes=40))

    assert checking.situation is Situation.CLOSING_ORDER
    assert "请不要再付，最晚 13:10" in status.explanation
    assert not status.can_pay
    assert unknown.situation is Situation.UNKNOWN


def received(order: PaymentOrder, **fields: object) -> PaymentAttempt:
    return an_attempt(
        order,
        status=AttemptStatus.SUCCEEDED,
        received=AMOUNT,
        trade_no="T1",
        succeeded_at=SOME_TIME + timedelta(hours=1),
        **fields,
    )


def a_settlement(attempt: PaymentAttempt) -> Settlement:
    assert attempt.succeeded_at is not None
    return Settlement(
        attempt_id=attempt.id,
        channel=attempt.channel,
        channel_trade_no="T1",
        settled_at=attempt.succeeded_at,
    )


def test_settled_reads_received_and_never_credited() -> None:
    order = an_order()
    attempt = received(order)

    standing, status = shown(settle(order, a_settlement(attempt)), attempt)

    assert standing.situation is Situation.SETTLED
    assert status.headline == "钱已收到，等税务入账"
    assert "13:30 收到 1,509.20 元" in status.explanation


def test_late_money_is_told_as_money_while_billing_decides_and_after() -> None:
    order = fail(an_order(), FailureReason.EXPIRED)
    undecided = received(order, unexpected_sequence=1)
    rejected = replace(undecided, decision=MoneyDecision.REJECTED)
    accepted = replace(undecided, decision=MoneyDecision.ACCEPTED)
    settled = accept_money(order, a_settlement(undecided), event_id=new_id())

    assert shown(order, undecided)[0].situation is Situation.LATE_MONEY
    assert shown(order, rejected)[0].situation is Situation.LATE_MONEY_GOES_BACK
    assert shown(settled, accepted)[0].situation is Situation.SETTLED_LATE


def test_a_second_payment_of_a_settled_order_is_told() -> None:
    order = an_order()
    first, second = received(order), received(order, unexpected_sequence=1)

    standing, status = shown(settle(order, a_settlement(first)), first, second)

    assert standing.situation is Situation.PAID_TWICE
    assert standing.attempt == second
    assert status.headline == "您付了两次，多付的会退"


def test_a_refunded_order_says_so() -> None:
    order = an_order()
    attempt = received(order)
    refunded = replace(settle(order, a_settlement(attempt)), status=OrderStatus.REFUNDED)

    assert shown(refunded, attempt)[0].situation is Situation.REFUNDED


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("situation", list(Situation))
def test_every_text_can_be_filled_in(situation: Situation, language: Language) -> None:
    attempt = received(an_order())
    order = settle(an_order(), a_settlement(attempt))
    standing = Standing(situation=situation, attempt=attempt, next_update_by=EXPIRES_AT)

    status = describe(order, standing, channel=ALIPAY, language=language, now=SOME_TIME)

    for words in (status.headline, status.explanation, status.next_step):
        assert "{" not in words
        if language is Language.EN:
            assert not re.search("[一-鿿]", words)


def test_times_carry_the_date_when_it_is_not_today_in_china() -> None:
    # 04:30 UTC is 12:30 in China; 15:59 UTC is the last minute of that day there.
    later = SOME_TIME + timedelta(hours=11, minutes=29)

    assert clock_words(later, language=Language.ZH, now=SOME_TIME) == "23:59"
    next_day = later + timedelta(minutes=1)
    assert clock_words(next_day, language=Language.ZH, now=SOME_TIME) == "11月25日 00:00"
    assert clock_words(next_day, language=Language.EN, now=SOME_TIME) == "00:00 on 25 November"
