"""The checker reads the real stack: what went well has no violation, and damage is found."""

import psycopg

from devstack.stack import Stack
from testing.checker import Kind
from tests.integration.support.judging import violations_about
from tests.integration.support.load import crowd, pay_all, until_all_paid
from tests.integration.support.people import People
from tests.integration.support.sandbox import Sandbox

# Other tests of the session leave garbage behind on purpose: only these orders are judged here.
JUDGED_COUNT = 8


async def test_the_real_stack_keeps_every_promise_about_these_orders(
    stack: Stack, people: People, sandbox: Sandbox
) -> None:
    persons = [*(await crowd(people, JUDGED_COUNT)), await people.logged_in()]
    orders = await pay_all(persons)
    await until_all_paid(stack, persons)

    found = violations_about(stack, orders.values())

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

    found = violations_about(stack, orders.values())

    with psycopg.connect(stack.databases["billing"]) as connection:
        connection.execute(
            "UPDATE payment_request SET status = 'SETTLED', reason = NULL, attempt_id ="
            " (SELECT paid_by_attempt_id FROM contribution WHERE id = contribution_id)"
            " WHERE payment_order_id = %s",
            (broken,),
        )
    assert (Kind.SERVICES_DISAGREE, broken) in found
