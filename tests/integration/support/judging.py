"""What the checker finds about some orders, where other tests leave garbage behind on purpose."""

from collections.abc import Iterable
from uuid import UUID

from devstack.stack import Stack
from testing.checker import History, Kind, check, read_world, until_at_rest
from tests.integration.support.books import sandbox_books


def violations_about(
    stack: Stack, orders: Iterable[str | UUID], *, within_seconds: float = 60
) -> set[tuple[Kind, str]]:
    """Of the orders themselves, their contributions, attempts and events, once all is at rest."""
    kafka = stack.plan().kafka_bootstrap_servers
    until_at_rest(stack.databases, kafka, within_seconds=within_seconds)
    world = read_world(stack.databases, kafka)
    bills = {request.order_id: request.contribution_id for request in world.requests}
    ours = {UUID(str(order_id)) for order_id in orders}
    history = History({order_id: bills[order_id] for order_id in ours})
    attempts = {attempt.id for attempt in world.attempts if attempt.order_id in ours}
    about = {
        *map(str, ours),
        *(str(bills[order_id]) for order_id in ours),
        *map(str, attempts),
        *(str(refund.id) for refund in world.refunds if refund.attempt_id in attempts),
        *(str(record.event_id) for record in world.records if record.order_id in ours),
    }
    violations = check(history, sandbox_books(stack.state_dir / "sandbox"), world)
    return {(each.kind, each.subject) for each in violations if each.subject in about}
