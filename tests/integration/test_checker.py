"""The checker reads the real stack: what went well has no violation, and damage is found."""

from uuid import UUID

import psycopg

from devstack.stack import Stack
from shared.testing.checker import History, Kind, check, read_world, until_at_rest
from tests.integration.books import sandbox_books
from tests.integration.load import crowd, pay_all, until_all_paid
from tests.integration.people import People, Person
from tests.integration.sandbox import Sandbox

# Other tests of the session leave garbage behind on purpose: only these orders are judged here.
JUDGED_COUNT = 8


async def test_the_real_stack_keeps_every_promise_about_these_orders(
    stack: Stack, people: People, sandbox: Sandbox
) -> None:
    persons = [*(await crowd(people, JUDGED_COUNT)), await people.logged_in()]
    orders = await pay_all(persons)
    await until_all_paid(stack, persons)

    found = await _violations_about(stack, orders)

    assert found == set()


async def test_damage_to_the_real_tables_is_found(stack: Stack, people: People) -> None:
    persons = await crowd(people, 2)
    orders = await pay_all(persons)
    await until_all_paid(stack, persons)
    broken = orders[persons[0]]
    with psycopg.connect(stack.databases["billing"]) as connection:
        connection.execute(
            "UPDATE payment_request SET status = 'FAILED', attempt_id = NULL, reason = 'x'"
            " WHERE payment_order_id = %s",
            (broken,),
        )

    found = await _violations_about(stack, orders)

    with psycopg.connect(stack.databases["billing"]) as connection:
        connection.execute(
            "UPDATE payment_request SET status = 'SETTLED', reason = NULL, attempt_id ="
            " (SELECT paid_by_attempt_id FROM contribution WHERE id = contribution_id)"
            " WHERE payment_order_id = %s",
            (broken,),
        )
    assert (Kind.SERVICES_DISAGREE, broken) in found


async def _violations_about(stack: Stack, orders: dict[Person, str]) -> set[tuple[Kind, str]]:
    """Of the orders themselves, their contributions, attempts and events."""
    kafka = stack.plan().kafka_bootstrap_servers
    until_at_rest(stack.databases, kafka, within_seconds=60)
    world = read_world(stack.databases, kafka)
    bills = {request.order_id: request.contribution_id for request in world.requests}
    ours = {UUID(order_id) for order_id in orders.values()}
    history = History({order_id: bills[order_id] for order_id in ours})
    about = {
        *map(str, ours),
        *(str(bills[order_id]) for order_id in ours),
        *(str(attempt.id) for attempt in world.attempts if attempt.order_id in ours),
        *(str(record.event_id) for record in world.records if record.order_id in ours),
    }
    violations = check(history, sandbox_books(stack.state_dir / "sandbox"), world)
    return {(each.kind, each.subject) for each in violations if each.subject in about}
