"""A small world in which every promise was kept, to be broken in one place."""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid5

from testing.checker import Books, Charge, History, World
from testing.checker.agreement import TOLD_BY
from testing.checker.loss import HANDLED
from testing.checker.story import (
    Attempt,
    Contribution,
    Item,
    Notification,
    Order,
    OutboxRow,
    Record,
    Refund,
    Request,
    Standing,
)

AMOUNT_FEN = 145_400
BILLING, PAYMENT = "billing.contributions", "payment.orders"
NAMESPACE = UUID("0b9a4d52-1f7e-5c34-8a1d-2f60c7d1e901")


def named(name: str) -> UUID:
    """The same id for the same name: a failing test is easy to read."""
    return uuid5(NAMESPACE, name)


@dataclass(frozen=True)
class Case:
    """One run of the system: what clients know, what the outside knows, what it stored."""

    history: History
    books: Books
    world: World

    def with_world(self, **changes: Any) -> "Case":
        return replace(self, world=replace(self.world, **changes))

    def with_books(self, **changes: Any) -> "Case":
        return replace(self, books=replace(self.books, **changes))


def good_case() -> Case:
    """Settled at once, failed, late money accepted, late money refused, settled after a delay;

    and the channels were announced twice.
    """
    sagas = [
        _settled("first"),
        _failed("second"),
        _accepted("third"),
        _rejected("fourth"),
        _delayed("fifth"),
    ]
    told = [record for saga in sagas for record in saga.records]
    records = _in_logs([*told, *_channels_announced()])
    notifications = [_told(record, channel) for record in records for channel in _channels(record)]
    orders = [saga.order for saga in sagas]
    return Case(
        history=History({saga.order.id: saga.order.contribution_id for saga in sagas}),
        books=Books(
            charges=[
                Charge(saga.attempt.id, saga.attempt.received_fen)
                for saga in sagas
                if saga.attempt.received_fen is not None
            ],
            sms=[told.id for told in notifications if told.channel == "sms"],
        ),
        world=World(
            contributions=[saga.contribution for saga in sagas],
            requests=[saga.request for saga in sagas],
            orders=orders,
            attempts=[saga.attempt for saga in sagas],
            refunds=[saga.refund for saga in sagas if saga.refund],
            notifications=notifications,
            settled_at_notifier=frozenset(order.id for order in orders if order.has_settled),
            items=[Item("payment", "refund_due", str(s.refund.id)) for s in sagas if s.refund],
            outbox=[OutboxRow("some", record.event_id, True) for record in records],
            inbox={
                consumer: [r.event_id for r in records if consumer in HANDLED[r.type]]
                for consumer in ("billing", "payment", "notifier")
            },
            standings=[Standing("billing", PAYMENT, 0, 9, 9)],
            records=records,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Saga:
    """One contribution with its order and everything that was told about it."""

    contribution: Contribution
    request: Request
    order: Order
    attempt: Attempt
    refund: Refund | None = None
    records: tuple[Record, ...] = ()


def _saga(name: str, *, received_fen: int | None) -> _Saga:
    """As it is after the order failed; `received_fen` came later, if at all."""
    contribution, order, attempt = (named(f"{what} {name}") for what in ("bill", "order", "try"))
    return _Saga(
        contribution=Contribution(id=contribution, status="ASSESSED", paid_by_attempt_id=None),
        request=Request(
            order_id=order, contribution_id=contribution, status="FAILED", attempt_id=None
        ),
        order=Order(
            id=order,
            contribution_id=contribution,
            status="FAILED",
            amount_fen=AMOUNT_FEN,
            has_failed=True,
            has_settled=False,
            attempt_id=None,
        ),
        attempt=Attempt(id=attempt, order_id=order, received_fen=received_fen),
        records=(
            record(BILLING, "ContributionAssessed", contribution, 1),
            record(BILLING, "PaymentRequested", order, 1, order),
            record(BILLING, "PaymentOutcomeAsked", order, 2, order),
        ),
    )


def _failed(name: str) -> _Saga:
    saga = _saga(name, received_fen=None)
    return _telling(saga, record(PAYMENT, "PaymentFailed", saga.order.id, 2, saga.order.id))


def _settled(name: str) -> _Saga:
    saga = _paid(_saga(name, received_fen=AMOUNT_FEN), has_failed=False)
    return _telling(saga, record(PAYMENT, "PaymentSettled", saga.order.id, 2, saga.order.id))


def _delayed(name: str) -> _Saga:
    """Nobody knew for a while, and the person was told twice that it takes longer."""
    saga = _paid(_saga(name, received_fen=AMOUNT_FEN), has_failed=False)
    order = saga.order.id
    return _telling(
        saga,
        record(PAYMENT, "PaymentDelayed", order, 3, order),
        record(PAYMENT, "PaymentDelayed", order, 4, order),
        record(PAYMENT, "PaymentSettled", order, 5, order),
    )


def _accepted(name: str) -> _Saga:
    saga = _paid(_saga(name, received_fen=AMOUNT_FEN), has_failed=True)
    order, attempt = saga.order.id, saga.attempt.id
    return _telling(
        saga,
        record(PAYMENT, "PaymentFailed", order, 2, order),
        record(PAYMENT, "UnexpectedMoneyReceived", attempt, 1, order),
        record(BILLING, "MoneyAccepted", attempt, 1, order),
        record(PAYMENT, "PaymentSettled", order, 3, order),
    )


def _rejected(name: str) -> _Saga:
    saga = _saga(name, received_fen=AMOUNT_FEN)
    order, attempt = saga.order.id, saga.attempt.id
    refund = Refund(
        id=named(f"refund {name}"), attempt_id=attempt, amount_fen=AMOUNT_FEN, status="REQUESTED"
    )
    return _telling(
        replace(saga, refund=refund),
        record(PAYMENT, "PaymentFailed", order, 2, order),
        record(PAYMENT, "UnexpectedMoneyReceived", attempt, 1, order),
        record(BILLING, "MoneyRejected", attempt, 1, order),
    )


def _paid(saga: _Saga, *, has_failed: bool) -> _Saga:
    by = saga.attempt.id
    return replace(
        saga,
        contribution=replace(saga.contribution, status="PAID", paid_by_attempt_id=by),
        request=replace(saga.request, status="SETTLED", attempt_id=by),
        order=replace(
            saga.order, status="SETTLED", has_failed=has_failed, has_settled=True, attempt_id=by
        ),
    )


def _telling(saga: _Saga, *more: Record) -> _Saga:
    return replace(saga, records=(*saga.records, *more))


def record(
    topic: str, event_type: str, subject: UUID, sequence: int, order_id: UUID | None = None
) -> Record:
    """One event, not yet at its place in a log."""
    return Record(
        topic=topic,
        partition=0,
        offset=0,
        event_id=named(f"{event_type} {subject} {sequence}"),
        type=event_type,
        subject=subject,
        sequence=sequence,
        order_id=order_id,
        body=f"{event_type} {subject}".encode(),
    )


def _channels_announced() -> list[Record]:
    return [record(PAYMENT, "ChannelsChanged", named("channels"), number) for number in (1, 2)]


def _in_logs(records: list[Record]) -> list[Record]:
    return [replace(each, offset=offset) for offset, each in enumerate(records)]


def _channels(told: Record) -> tuple[str, ...]:
    return TOLD_BY.get(told.type, ())


def _told(told: Record, channel: str) -> Notification:
    return Notification(
        id=named(f"{channel} {told.event_id}"),
        event_id=told.event_id,
        channel=channel,
        person_id=named("somebody"),
        status="DELIVERED",
    )
