"""Each kind of broken promise is found and named with the id that it is about."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from testing.checker import Charge, Harm, History, Kind, Payback, check, check_unchanged, tally
from testing.checker.story import Item, Letter, Notification, OutboxRow, Standing
from testing.tests.checker.fabricated import (
    AMOUNT_FEN,
    BILLING,
    PAYMENT,
    Case,
    good_case,
    named,
    record,
)

SETTLED, ACCEPTED, REJECTED = named("order first"), named("order third"), named("order fourth")
SETTLED_BILL, SETTLED_TRY = named("bill first"), named("try first")
REFUND = named("refund fourth")
SETTLED_EVENT = named(f"PaymentSettled {SETTLED} 2")
REQUESTED_EVENT = named(f"PaymentRequested {SETTLED} 1")
SMS = named(f"sms {SETTLED_EVENT}")


def test_a_world_in_which_every_promise_was_kept_has_no_violation() -> None:
    case = good_case()

    assert check(case.history, case.books, case.world) == []


def order_missing(case: Case) -> Case:
    return replace(case, history=History({**case.history.orders, named("lost"): named("bill")}))


def order_of_another_contribution(case: Case) -> Case:
    return replace(case, history=History({**case.history.orders, SETTLED: named("other bill")}))


def event_lost(case: Case) -> Case:
    row = OutboxRow("payment", named("lost event"), True)
    return case.with_world(outbox=[*case.world.outbox, row])


def inbox_missing(case: Case) -> Case:
    return _inbox(case, "billing", lambda ids: [each for each in ids if each != SETTLED_EVENT])


def notification_missing(case: Case) -> Case:
    kept = [
        n for n in case.world.notifications if (n.event_id, n.channel) != (SETTLED_EVENT, "inbox")
    ]
    return case.with_world(notifications=kept)


def sms_lost(case: Case) -> Case:
    return case.with_books(sms=[each for each in case.books.sms if each != SMS])


def charge_unrecorded(case: Case) -> Case:
    stranger = Charge(named("try unknown"), AMOUNT_FEN)
    return case.with_books(charges=[*case.books.charges, stranger])


def another_amount_recorded(case: Case) -> Case:
    return _charges(case, lambda charge: replace(charge, amount_fen=AMOUNT_FEN + 1))


def charged_twice(case: Case) -> Case:
    return case.with_books(charges=[*case.books.charges, Charge(SETTLED_TRY, AMOUNT_FEN)])


def paid_twice(case: Case) -> Case:
    """The accepted order is one more for the contribution that is paid already."""
    orders = _changed(case.world.orders, "id", ACCEPTED, contribution_id=SETTLED_BILL)
    return case.with_world(orders=orders)


def sms_doubled(case: Case) -> Case:
    return case.with_books(sms=[*case.books.sms, SMS])


def notification_doubled(case: Case) -> Case:
    first = case.world.notifications[0]
    return case.with_world(
        notifications=[*case.world.notifications, replace(first, id=named("again"))]
    )


def inbox_doubled(case: Case) -> Case:
    return _inbox(case, "payment", lambda ids: [*ids, REQUESTED_EVENT])


def order_stuck(case: Case) -> Case:
    return case.with_world(
        requests=_changed(case.world.requests, "order_id", REJECTED, status="OPEN"),
        orders=_changed(case.world.orders, "id", REJECTED, status="REQUESTED"),
        contributions=_changed(
            case.world.contributions, "id", named("bill fourth"), status="PAYMENT_PENDING"
        ),
    )


def order_never_opened(case: Case) -> Case:
    orders = [order for order in case.world.orders if order.id != REJECTED]
    return case.with_world(orders=orders)


def message_stuck(case: Case) -> Case:
    return _message(case, "SUBMITTED")


def refund_without_item(case: Case) -> Case:
    return case.with_world(items=[])


def refund_with_two_items(case: Case) -> Case:
    again = Item("payment", "refund_due", str(REFUND))
    return case.with_world(items=[*case.world.items, again])


def money_without_refund(case: Case) -> Case:
    return case.with_world(refunds=[])


def event_unsent(case: Case) -> Case:
    rows = [replace(row, is_sent=row.event_id != SETTLED_EVENT) for row in case.world.outbox]
    return case.with_world(outbox=rows)


def consumer_behind(case: Case) -> Case:
    return case.with_world(standings=[Standing("billing", PAYMENT, 3, 7, 9)])


def consumer_beyond(case: Case) -> Case:
    return case.with_world(standings=[Standing("billing", PAYMENT, 3, 9, 7)])


def letter_open(case: Case) -> Case:
    return case.with_world(letters=[Letter("billing", str(SETTLED_EVENT), "planted")])


def key_blocked(case: Case) -> Case:
    return case.with_world(blocked_keys=[("billing", "somebody")])


def event_invented(case: Case) -> Case:
    rows = [row for row in case.world.outbox if row.event_id != SETTLED_EVENT]
    return case.with_world(outbox=rows)


def event_changed(case: Case) -> Case:
    first = case.world.records[0]
    return case.with_world(records=[*case.world.records, replace(first, body=b"other", offset=99)])


def charge_invented(case: Case) -> Case:
    return case.with_books(charges=[c for c in case.books.charges if c.attempt_id != SETTLED_TRY])


def sms_invented(case: Case) -> Case:
    return case.with_books(sms=[*case.books.sms, named("nobody asked")])


def sms_sent_though_withdrawn(case: Case) -> Case:
    return _message(case, "OVERTAKEN")


def inbox_unknown(case: Case) -> Case:
    return _inbox(case, "payment", lambda ids: [*ids, named("never told")])


def sums_differ(case: Case) -> Case:
    orders = _changed(case.world.orders, "id", SETTLED, amount_fen=AMOUNT_FEN - 1)
    return case.with_world(orders=orders)


def refund_nobody_paid(case: Case) -> Case:
    refunds = [replace(each, status="SUCCEEDED") for each in case.world.refunds]
    return case.with_world(refunds=refunds)


def settled_and_failed(case: Case) -> Case:
    return _told_also(case, record(PAYMENT, "PaymentFailed", SETTLED, 3, SETTLED))


def delayed_after_the_outcome(case: Case) -> Case:
    return _told_also(case, record(PAYMENT, "PaymentDelayed", SETTLED, 3, SETTLED))


def settled_after_failure_without_word(case: Case) -> Case:
    """As if billing had never accepted the late money."""
    word = named(f"MoneyAccepted {named('try third')} 1")
    world = case.world
    return case.with_world(
        records=[each for each in world.records if each.event_id != word],
        outbox=[row for row in world.outbox if row.event_id != word],
        inbox={name: [each for each in ids if each != word] for name, ids in world.inbox.items()},
    )


def asked_before_requested(case: Case) -> Case:
    return _told_also(case, record(BILLING, "PaymentOutcomeAsked", SETTLED, 0, SETTLED))


def out_of_order(case: Case) -> Case:
    records = list(case.world.records)
    ask = next(i for i, each in enumerate(records) if each.type == "PaymentOutcomeAsked")
    records[ask - 1], records[ask] = records[ask], records[ask - 1]
    return case.with_world(records=records)


def partition_changed(case: Case) -> Case:
    return case.with_world(
        records=[
            replace(each, partition=int(each.type == "PaymentOutcomeAsked"))
            for each in case.world.records
        ]
    )


def billing_says_otherwise(case: Case) -> Case:
    requests = _changed(case.world.requests, "order_id", SETTLED, status="FAILED", attempt_id=None)
    return case.with_world(requests=requests)


def paid_by_another_attempt(case: Case) -> Case:
    bills = _changed(
        case.world.contributions, "id", SETTLED_BILL, paid_by_attempt_id=named("another try")
    )
    return case.with_world(contributions=bills)


def still_pending(case: Case) -> Case:
    bills = _changed(
        case.world.contributions,
        "id",
        SETTLED_BILL,
        status="PAYMENT_PENDING",
        paid_by_attempt_id=None,
    )
    return case.with_world(contributions=bills)


def order_nobody_asked_for(case: Case) -> Case:
    requests = [each for each in case.world.requests if each.order_id != REJECTED]
    orders = {known: bill for known, bill in case.history.orders.items() if known != REJECTED}
    return replace(case.with_world(requests=requests), history=History(orders))


def notifier_never_heard(case: Case) -> Case:
    return case.with_world(settled_at_notifier=case.world.settled_at_notifier - {SETTLED})


def outcome_untold(case: Case) -> Case:
    world = case.world
    return case.with_world(
        records=[each for each in world.records if each.event_id != SETTLED_EVENT],
        outbox=[row for row in world.outbox if row.event_id != SETTLED_EVENT],
        inbox={
            n: [each for each in ids if each != SETTLED_EVENT] for n, ids in world.inbox.items()
        },
    )


def settled_in_the_topic_only(case: Case) -> Case:
    return case.with_world(
        orders=_changed(case.world.orders, "id", SETTLED, has_settled=False),
    )


# What was broken → the kind, and the id that the violation names.
BREAKAGES: list[tuple[Callable[[Case], Case], Kind, object]] = [
    (order_missing, Kind.ORDER_MISSING, named("lost")),
    (order_of_another_contribution, Kind.ORDER_MISSING, SETTLED),
    (event_lost, Kind.EVENT_LOST, named("lost event")),
    (inbox_missing, Kind.INBOX_MISSING, SETTLED_EVENT),
    (notification_missing, Kind.NOTIFICATION_MISSING, SETTLED_EVENT),
    (sms_lost, Kind.SMS_LOST, SMS),
    (charge_unrecorded, Kind.CHARGE_UNRECORDED, named("try unknown")),
    (another_amount_recorded, Kind.CHARGE_UNRECORDED, SETTLED_TRY),
    (charged_twice, Kind.CHARGED_TWICE, SETTLED_TRY),
    (paid_twice, Kind.PAID_TWICE, SETTLED_BILL),
    (sms_doubled, Kind.SMS_DOUBLED, SMS),
    (notification_doubled, Kind.NOTIFICATION_DOUBLED, None),
    (inbox_doubled, Kind.INBOX_DOUBLED, REQUESTED_EVENT),
    (order_stuck, Kind.ORDER_STUCK, REJECTED),
    (order_never_opened, Kind.ORDER_STUCK, REJECTED),
    (message_stuck, Kind.MESSAGE_STUCK, SMS),
    (refund_without_item, Kind.MONEY_STUCK, REFUND),
    (refund_with_two_items, Kind.MONEY_STUCK, REFUND),
    (money_without_refund, Kind.MONEY_STUCK, named("try fourth")),
    (event_unsent, Kind.EVENT_UNSENT, SETTLED_EVENT),
    (consumer_behind, Kind.CONSUMER_BEHIND, f"billing {PAYMENT}/3"),
    (consumer_beyond, Kind.CONSUMER_BEHIND, f"billing {PAYMENT}/3"),
    (letter_open, Kind.LETTER_OPEN, SETTLED_EVENT),
    (key_blocked, Kind.KEY_BLOCKED, "somebody"),
    (event_invented, Kind.EVENT_INVENTED, SETTLED_EVENT),
    (event_changed, Kind.EVENT_CHANGED, None),
    (charge_invented, Kind.CHARGE_INVENTED, SETTLED_TRY),
    (sms_invented, Kind.SMS_INVENTED, named("nobody asked")),
    (sms_sent_though_withdrawn, Kind.SMS_INVENTED, SMS),
    (inbox_unknown, Kind.INBOX_UNKNOWN, named("never told")),
    (sums_differ, Kind.SUMS_DIFFER, "all money"),
    (refund_nobody_paid, Kind.CHARGE_UNRECORDED, REFUND),
    (settled_and_failed, Kind.ILLEGAL_HISTORY, SETTLED),
    (delayed_after_the_outcome, Kind.ILLEGAL_HISTORY, SETTLED),
    (settled_after_failure_without_word, Kind.ILLEGAL_HISTORY, ACCEPTED),
    (asked_before_requested, Kind.ILLEGAL_HISTORY, SETTLED),
    (out_of_order, Kind.OUT_OF_ORDER, None),
    (partition_changed, Kind.PARTITION_CHANGED, SETTLED),
    (billing_says_otherwise, Kind.SERVICES_DISAGREE, SETTLED),
    (paid_by_another_attempt, Kind.SERVICES_DISAGREE, SETTLED_BILL),
    (still_pending, Kind.SERVICES_DISAGREE, SETTLED_BILL),
    (order_nobody_asked_for, Kind.SERVICES_DISAGREE, REJECTED),
    (notifier_never_heard, Kind.SERVICES_DISAGREE, SETTLED),
    (outcome_untold, Kind.TOPIC_DISAGREES, SETTLED),
    (settled_in_the_topic_only, Kind.TOPIC_DISAGREES, SETTLED),
]


@pytest.mark.parametrize(
    ("breakage", "kind", "subject"), BREAKAGES, ids=[each[0].__name__ for each in BREAKAGES]
)
def test_what_was_broken_is_found_with_its_id(
    breakage: Callable[[Case], Case], kind: Kind, subject: object
) -> None:
    case = breakage(good_case())

    found = check(case.history, case.books, case.world)

    assert kind in {violation.kind for violation in found}, found
    if subject is not None:
        assert str(subject) in {each.subject for each in found if each.kind is kind}, found


# By comparing two states, and in the logs of processes.
SEEN_ELSEWHERE = {Kind.STATE_CHANGED, Kind.LOOP_FAILED}


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in SEEN_ELSEWHERE])
def test_every_kind_has_a_world_that_breaks_it(kind: Kind) -> None:
    assert kind in {broken for _, broken, _ in BREAKAGES}


def test_a_message_may_come_twice_where_the_bound_says_so() -> None:
    case = sms_doubled(good_case())

    assert check(case.history, case.books, case.world, sms_per_message_max=2) == []


def test_order_is_not_judged_where_the_broker_lost_what_was_told_first() -> None:
    case = out_of_order(good_case())

    assert check(case.history, case.books, case.world, cut_topics={BILLING}) == []
    assert check(case.history, case.books, case.world, cut_topics={PAYMENT}) != []


def test_a_refund_that_the_channel_paid_back_needs_no_item() -> None:
    case = refund_nobody_paid(good_case()).with_world(items=[])
    case = case.with_books(paybacks=[Payback(REFUND, AMOUNT_FEN)])

    assert check(case.history, case.books, case.world) == []


def test_what_is_told_again_word_for_word_is_no_violation() -> None:
    case = good_case()
    again = [replace(each, offset=100 + each.offset) for each in reversed(case.world.records)]
    case = case.with_world(records=[*case.world.records, *again])

    assert check(case.history, case.books, case.world) == []


def test_a_replay_that_changes_a_table_is_found() -> None:
    before = {"billing": {"contribution": "2 rows a", "refund": "0 rows b"}}
    after = {"billing": {"contribution": "2 rows a", "refund": "1 rows c"}}

    found = list(check_unchanged(before, after))

    assert [(each.kind, each.subject) for each in found] == [(Kind.STATE_CHANGED, "billing.refund")]
    assert list(check_unchanged(before, before)) == []


def test_violations_are_counted_by_whom_they_harm() -> None:
    lost, doubled = order_missing(good_case()), sms_doubled(good_case())

    counts = tally(
        [
            *check(lost.history, lost.books, lost.world),
            *check(doubled.history, doubled.books, doubled.world),
        ]
    )

    assert counts == {Harm.LOST: 1, Harm.DOUBLED: 1, Harm.STUCK: 0, Harm.WRONG: 0}


def _changed(rows: Any, key: str, wanted: object, **changes: Any) -> list[Any]:
    assert any(getattr(row, key) == wanted for row in rows)
    return [replace(row, **changes) if getattr(row, key) == wanted else row for row in rows]


def _inbox(case: Case, consumer: str, change: Callable[[list[Any]], list[Any]]) -> Case:
    changed = change(list(case.world.inbox[consumer]))
    return case.with_world(inbox={**case.world.inbox, consumer: changed})


def _charges(case: Case, change: Callable[[Charge], Charge]) -> Case:
    return case.with_books(charges=[change(charge) for charge in case.books.charges])


def _message(case: Case, status: str) -> Case:
    told: list[Notification] = _changed(case.world.notifications, "id", SMS, status=status)
    return case.with_world(notifications=told)


def _told_also(case: Case, event: Any) -> Case:
    """One more record, committed by its service."""
    event = replace(event, offset=1000)
    return case.with_world(
        records=[*case.world.records, event],
        outbox=[*case.world.outbox, OutboxRow("some", event.event_id, True)],
    )
