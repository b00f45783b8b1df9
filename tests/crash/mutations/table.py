"""Named breakages of one line each, and who has to catch them.

A patch replaces one function of the product, in the process that is told to; it calls `reached`
whenever the broken line is passed. There is no product code for it.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from msgspec.structs import replace

from shared.runtime.database.statements import text

Patch = Callable[[Callable[[], None]], None]


@dataclass(frozen=True, slots=True)
class Mutation:
    """`tests` are node ids of pytest, `scenario` the name of a crash scenario: either catches."""

    name: str
    what: str
    patch: Patch
    tests: tuple[str, ...] = ()
    scenario: str | None = None
    services: tuple[str, ...] = ()


def skip_inbox(reached: Callable[[], None]) -> None:
    from shared.runtime.messaging import inbox

    async def claim(
        connection: object, statement: object, consumer: str, event_ids: Iterable[Any]
    ) -> set[Any]:
        reached()
        return set(event_ids)

    _replace(inbox, "_claim", claim)


def move_positions_before_the_effect(reached: Callable[[], None]) -> None:
    """In a transaction of its own, as if offsets were committed when records are fetched."""
    from shared.runtime.messaging import dispatch
    from shared.runtime.messaging.positions import move_positions

    original = dispatch.Dispatch._apply

    async def apply(self: Any, subscription: Any, taken: Any) -> bool:
        moves = taken.moves([])
        if moves:
            async with self._database.transaction() as unit:
                await move_positions(unit.connection, self._consumer.name, moves)
            reached()
        return await original(self, subscription, taken)

    async def moved_before(connection: object, consumer: str, moves: object) -> None:
        return None

    dispatch.Dispatch._apply = apply  # type: ignore[method-assign]
    _replace(dispatch, "move_positions", moved_before)


def ignore_the_fence(reached: Callable[[], None]) -> None:
    from shared.runtime.messaging import dispatch
    from shared.runtime.messaging.positions import Fenced, move_positions

    async def careless(connection: Any, consumer: str, moves: Any) -> None:
        try:
            await move_positions(connection, consumer, moves)
        except Fenced:
            reached()

    _replace(dispatch, "move_positions", careless)


def mark_before_send(reached: Callable[[], None]) -> None:
    """Marked as sent, then sent: what dies in between is never told."""
    from shared.runtime.messaging import relay
    from shared.runtime.messaging.outbox import mark_sent

    async def read_and_mark(self: Any) -> tuple[Any, bool]:
        rows, again = await original(self)
        if rows:
            async with self._database.transaction() as unit:
                await mark_sent(unit.connection, rows, again=again)
            reached()
        return rows, again

    original = relay.Relay._read
    relay.Relay._read = read_and_mark  # type: ignore[method-assign]


def cursor_by_id(reached: Callable[[], None]) -> None:
    """`id > last` instead of "not sent": a transaction that commits late is passed over."""
    from shared.runtime.messaging import relay
    from shared.runtime.messaging.outbox import read_unsent

    last = 0

    async def after_last(connection: Any, row_count: int, **more: Any) -> list[Any]:
        nonlocal last
        rows = [row for row in await read_unsent(connection, row_count, **more) if row.id > last]
        if rows:
            last = max(row.id for row in rows)
            reached()
        return rows

    _replace(relay, "read_unsent", after_last)


def publish_before_commit(reached: Callable[[], None]) -> None:
    """Outbox rows in a transaction of their own, before the state is known to commit."""
    from shared.runtime.database import database, unit_of_work

    original = unit_of_work.Unit.flush
    open_pool = database.Database.__init__
    pools: dict[str, Any] = {}

    def remember(self: Any, pool: Any, *, source: str, clock: Any) -> None:
        pools[source] = pool
        open_pool(self, pool, source=source, clock=clock)

    async def flush(self: Any) -> None:
        if self._pending:
            reached()
            async with pools[self._source].transaction() as other:
                mine, self.connection = self.connection, other
                try:
                    await original(self)
                finally:
                    self.connection = mine
            return
        await original(self)

    unit_of_work.Unit.flush = flush  # type: ignore[method-assign]
    database.Database.__init__ = remember  # type: ignore[method-assign]


def time_out_means_failed(reached: Callable[[], None]) -> None:
    from services.payment.application import record_calls
    from services.payment.domain.channel_answer import Declined, Unknown
    from services.payment.domain.failure_reason import FailureReason

    original = record_calls._answer

    def answer(ended: Any) -> Any:
        given = original(ended)
        if isinstance(given, Unknown):
            reached()
            return Declined(FailureReason.REJECTED)
        return given

    _replace(record_calls, "_answer", answer)


def send_without_query(reached: Callable[[], None]) -> None:
    """Whatever was sent before is sent again instead of asked about."""
    from services.payment.adapters.postgres import attempts
    from services.payment.domain.payment_attempt import Call

    original = attempts._call

    def call(*, sends: bool, never_sent: bool) -> Any:
        told = original(sends=sends, never_sent=never_sent)
        if told is Call.QUERY:
            reached()
            return Call.START
        return told

    attempts._call = call


def no_lease(reached: Callable[[], None]) -> None:
    from services.payment.adapters.postgres import attempts

    statement = str(attempts.CLAIM_ATTEMPTS)
    held = "AND (lease_until IS NULL OR lease_until < clock_timestamp())"
    assert held in statement
    attempts.CLAIM_ATTEMPTS = text(statement.replace(held, ""))
    original = attempts.PostgresAttempts.claim

    async def claim(self: Any, **more: Any) -> Any:
        reached()
        return await original(self, **more)

    attempts.PostgresAttempts.claim = claim  # type: ignore[method-assign]


def call_without_commit(reached: Callable[[], None]) -> None:
    """The first call is made although the transaction that opened the order rolled back."""
    from shared.runtime.database import unit_of_work

    original = unit_of_work.Unit.tell_end

    def tell_end(self: Any, *, is_committed: bool, since: int = 0) -> None:
        if self._at_end[since:] and not is_committed:
            reached()
        original(self, is_committed=True, since=since)

    unit_of_work.Unit.tell_end = tell_end  # type: ignore[method-assign]


def a_close_is_believed(reached: Callable[[], None]) -> None:
    """What a channel closed or declined is never asked about again."""
    from services.payment.domain import outcome

    def never(**asked: object) -> None:
        reached()

    _replace(outcome, "next_late_ask_at", never)


def no_unique_open_order(reached: Callable[[], None]) -> None:
    from services.payment.adapters.postgres import orders

    async def refuse_nothing(self: Any, openings: Sequence[Any], opened: set[Any]) -> None:
        reached()

    orders.PostgresOrders._refuse_second_open = refuse_nothing  # type: ignore[method-assign]


def contradictions_are_ignored(reached: Callable[[], None]) -> None:
    from shared.kernel import transitions

    def check(self: Any, source: Any, target: Any, subject: object) -> Any:
        if not self.allows(source, target):
            reached()
        return target

    transitions.Transitions.check = check  # type: ignore[method-assign]


def blocked_keys_are_released(reached: Callable[[], None]) -> None:
    from shared.runtime.messaging import batch

    async def nothing_blocked(connection: object, consumer: str, keys: object) -> set[Any]:
        reached()
        return set()

    _replace(batch, "blocked_keys", nothing_blocked)


def never_ask_again(reached: Callable[[], None]) -> None:
    from services.billing.application import ask_for_outcomes

    async def ask(unit: object, request: object, asking: object) -> None:
        reached()

    ask_for_outcomes._ask = ask


def answers_with_new_ids(reached: Callable[[], None]) -> None:
    """An outcome that is told again gets another id: the inbox cannot know it."""
    from services.payment.application import open_orders, tell_outcomes

    async def tell_anew(unit: Any, orders: Sequence[Any]) -> None:
        for order in orders:
            reached()
            if order.settled_version is not None:
                tell_outcomes._tell_settled(
                    unit, replace(order, settled_version=order.settled_version + 1)
                )

    _replace(open_orders, "repeat_outcomes", tell_anew)


def sms_without_submit(reached: Callable[[], None]) -> None:
    """The call first, the record afterwards: after a crash nobody knows that it was sent."""
    from services.notifier.application import deliver_messages
    from services.notifier.domain.deliveries import Decision
    from services.notifier.domain.notifications import Status

    original = deliver_messages.DeliverMessages._look

    async def look(self: Any, delivery: Any) -> Any:
        """What was submitted is sent again without asking the gateway."""
        if delivery.status is Status.SUBMITTED:
            reached()
            return Decision(delivery=delivery, due_seconds=None, send=True)
        return await original(self, delivery)

    deliver_messages.DeliverMessages._look = look  # type: ignore[method-assign]


def one_key_anywhere(reached: Callable[[], None]) -> None:
    """Records go to any partition: the order of a key is lost."""
    from shared.runtime.messaging import sender

    turn = 0

    async def anywhere(self: Any, row: Any) -> int:
        nonlocal turn
        await original(self, row)
        reached()
        turn += 1
        return turn % int(self._partition_counts[row.topic])

    original = sender.Sender._partition_of
    sender.Sender._partition_of = anywhere  # type: ignore[method-assign]


def no_savepoint(reached: Callable[[], None]) -> None:
    """A failed part is not undone, and the next half works on its remains."""
    from shared.runtime.database import unit_of_work

    @asynccontextmanager
    async def savepoint(self: Any) -> Any:
        await self.flush()
        reached()
        yield
        await self.flush()

    unit_of_work.Unit.savepoint = savepoint  # type: ignore[method-assign]


def _replace(module: ModuleType, name: str, by: object) -> None:
    """Raises AttributeError where the product has no such name any more."""
    getattr(module, name)
    setattr(module, name, by)


DISPATCH = "shared/tests/messaging/test_dispatch.py"
RELAY = "shared/tests/messaging/test_relay.py"
LATE_MONEY = "services/payment/tests/orders/test_late_money.py"
ATTEMPTS = "services/payment/tests/orders/test_run_attempts.py"
FIRST_CALLS = "services/payment/tests/orders/test_first_calls.py"
REACTIONS = "services/payment/tests/orders/test_reactions.py"
UNIT = "shared/tests/messaging/test_unit_of_work.py"

MUTATIONS = [
    Mutation(
        "skip_inbox",
        "every event counts as new",
        skip_inbox,
        tests=(f"{DISPATCH}::test_each_event_takes_effect_once_however_often_it_comes",),
    ),
    Mutation(
        "move_positions_before_the_effect",
        "positions move in a transaction before the effect",
        move_positions_before_the_effect,
        scenario="dispatch.before_commit",
        services=("billing", "payment", "notifier"),
    ),
    Mutation(
        "ignore_the_fence",
        "a position that somebody else moved stops nobody",
        ignore_the_fence,
        tests=(f"{DISPATCH}::test_a_position_that_somebody_else_moved_fences_the_batch",),
    ),
    Mutation(
        "mark_before_send",
        "outbox rows are marked before the broker has them",
        mark_before_send,
        scenario="relay.before_send",
        services=("billing", "payment"),
    ),
    Mutation(
        "cursor_by_id",
        "the relay reads `id > last` instead of what is not sent",
        cursor_by_id,
        tests=(f"{RELAY}::test_a_transaction_that_commits_late_is_not_passed_over",),
    ),
    Mutation(
        "publish_before_commit",
        "events are published although their transaction rolls back",
        publish_before_commit,
        tests=(f"{UNIT}::test_an_event_of_a_transaction_that_rolls_back_is_never_told",),
    ),
    Mutation(
        "time_out_means_failed",
        "no answer of the channel fails the order",
        time_out_means_failed,
        tests=(
            f"{ATTEMPTS}::test_a_charge_that_times_out_is_unknown_until_a_query_tells_the_truth",
        ),
    ),
    Mutation(
        "send_without_query",
        "what was sent before is sent again instead of asked about",
        send_without_query,
        tests=(
            f"{ATTEMPTS}::test_after_a_crash_behind_the_call_the_charge_is_found_and_not_repeated",
        ),
    ),
    Mutation(
        "no_lease",
        "an attempt that another worker holds is taken too",
        no_lease,
        tests=(f"{ATTEMPTS}::test_what_one_worker_holds_no_other_asks_about",),
    ),
    Mutation(
        "call_without_commit",
        "a channel is called for an order that was rolled back",
        call_without_commit,
        tests=(
            f"{FIRST_CALLS}::"
            "test_a_transaction_that_rolls_back_calls_nobody_and_gives_its_room_back",
        ),
    ),
    Mutation(
        "a_close_is_believed",
        "nobody asks whether money came after an attempt ended",
        a_close_is_believed,
        tests=(
            f"{LATE_MONEY}::"
            "test_money_taken_after_a_confirmed_close_pays_the_open_order_without_a_notification",
        ),
    ),
    Mutation(
        "no_unique_open_order",
        "a second open order of a contribution is no contradiction",
        no_unique_open_order,
        tests=(f"{REACTIONS}::test_a_second_open_order_of_a_contribution_is_a_contradiction",),
    ),
    Mutation(
        "contradictions_are_ignored",
        "a move that is in no table is made",
        contradictions_are_ignored,
        tests=("services/billing/tests/test_contradictions.py",),
    ),
    Mutation(
        "blocked_keys_are_released",
        "facts overtake a dead letter of their key",
        blocked_keys_are_released,
        tests=(
            f"{DISPATCH}::test_poison_is_parked_its_key_waits_and_replay_settles_the_rest_in_order",
        ),
    ),
    Mutation(
        "never_ask_again",
        "billing never asks for an outcome that it missed",
        never_ask_again,
        tests=("services/billing/tests/test_ask_for_outcomes.py",),
    ),
    Mutation(
        "answers_with_new_ids",
        "an outcome that is told again has another id",
        answers_with_new_ids,
        tests=(
            f"{REACTIONS}::"
            "test_an_ask_about_a_finished_order_repeats_its_outcome_with_the_original_id",
        ),
    ),
    Mutation(
        "sms_without_submit",
        "an SMS under way is sent again without asking the gateway",
        sms_without_submit,
        tests=(
            "services/notifier/tests/test_deliver_messages.py::"
            "test_after_a_crash_behind_submitted_the_gateway_is_asked_first",
        ),
    ),
    Mutation(
        "one_key_anywhere",
        "records of one key go to any partition",
        one_key_anywhere,
        tests=(f"{RELAY}::test_all_records_of_a_key_are_where_any_client_looks_for_it",),
    ),
    Mutation(
        "no_savepoint",
        "a failed part of a batch is not undone",
        no_savepoint,
        tests=(f"{UNIT}::test_a_part_that_fails_takes_its_events_with_it_and_leaves_the_others",),
    ),
]
BY_NAME = {mutation.name: mutation for mutation in MUTATIONS}


def apply(name: str, marks: str) -> None:
    """Patch this process; each pass leaves a mark in the file `marks`. Raises KeyError."""
    BY_NAME[name].patch(_marking(marks))


def _marking(marks: str) -> Callable[[], None]:
    is_marked = False

    def reached() -> None:
        nonlocal is_marked
        if not is_marked:
            is_marked = True
            with open(marks, "a") as file:
                file.write(f"{os.getpid()}\n")

    return reached
