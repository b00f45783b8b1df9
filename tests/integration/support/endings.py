"""How a bill ended everywhere: channels' books, payment, billing, open items, and what was told."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import psycopg

from devstack.stack import Stack
from sandbox.book import FILE_NAME

BOOKED = """
SELECT 'charge' AS book, amount_fen AS fen FROM charge
 WHERE status = 'succeeded' AND replace(attempt_id, '-', '') = :number
UNION ALL
SELECT channel, paid_fen FROM trade WHERE paid_at IS NOT NULL AND out_trade_no = :number
"""
ATTEMPTS = """
SELECT id, order_id, status, received_fen FROM payment_attempt
WHERE order_id = ANY(%s) ORDER BY created_at, id
"""
ITEMS = """
SELECT kind FROM operator_item WHERE closed_at IS NULL AND reference = ANY(%s) ORDER BY kind
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The final state of one contribution and its orders.

    `taken_fen` is what the channels took, by their own books; `held_fen` is the part of it that
    settled nothing.
    """

    attempts: tuple[str, ...]
    orders: tuple[str, ...]
    contribution: str
    taken_fen: int
    held_fen: int = 0
    items: tuple[str, ...] = ()
    told: tuple[str, ...] = ("contribution_assessed", "payment_requested", "payment_settled")


def read_ending(stack: Stack, contribution_id: str, orders: Sequence[UUID]) -> Ending:
    """Blocking."""
    with psycopg.connect(stack.databases["payment"]) as payment:
        attempts = payment.execute(ATTEMPTS, (list(orders),)).fetchall()
        rows = payment.execute(
            "SELECT id, status, attempt_id FROM payment_order WHERE id = ANY(%s)", (list(orders),)
        ).fetchall()
        references = [str(id) for id, *_ in (*attempts, *rows)]
        refunds = payment.execute(
            "SELECT id FROM refund WHERE attempt_id = ANY(%s)", ([id for id, *_ in attempts],)
        ).fetchall()
        references += [str(id) for (id,) in refunds]
        items = payment.execute(ITEMS, (references,)).fetchall()
    statuses = {id: status for id, status, _ in rows}
    settled_by = {attempt_id for _, _, attempt_id in rows}
    return Ending(
        attempts=tuple(status for _, _, status, _ in attempts),
        orders=tuple(statuses.get(id, "none") for id in orders),
        contribution=_contribution(stack, contribution_id),
        taken_fen=sum(_taken(stack, id) for id, *_ in attempts),
        held_fen=sum(fen or 0 for id, _, _, fen in attempts if id not in settled_by),
        items=tuple(kind for (kind,) in items),
        told=_told(stack, contribution_id),
    )


def _taken(stack: Stack, attempt_id: UUID) -> int:
    file = stack.state_dir / "sandbox" / FILE_NAME
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5)
    try:
        rows = connection.execute(BOOKED, {"number": attempt_id.hex}).fetchall()
    finally:
        connection.close()
    return sum(fen for _, fen in rows)


def _contribution(stack: Stack, contribution_id: str) -> str:
    with psycopg.connect(stack.databases["billing"]) as billing:
        row = billing.execute(
            "SELECT status FROM contribution WHERE id = %s", (contribution_id,)
        ).fetchone()
    return str(row[0]) if row else "none"


def _told(stack: Stack, contribution_id: str) -> tuple[str, ...]:
    with psycopg.connect(stack.databases["notifier"]) as notifier:
        rows = notifier.execute(
            "SELECT template FROM notification WHERE contribution_id = %s AND channel = 'inbox'"
            " ORDER BY template",
            (contribution_id,),
        ).fetchall()
    return tuple(template for (template,) in rows)
