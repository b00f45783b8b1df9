"""A past of many settled orders, written by SQL as the services would have left it."""

from collections.abc import Mapping

import psycopg

STEP = 50_000

# A time-ordered id from a number and what it is for, as UUIDv7 is.
ID = """
    CREATE OR REPLACE FUNCTION pg_temp.past_id(n bigint, purpose text) RETURNS uuid
    LANGUAGE sql IMMUTABLE AS $$
        SELECT (lpad(to_hex(n), 12, '0') || '7' || substr(md5(purpose || n), 1, 3)
                || 'a' || substr(md5(purpose || n), 4, 15))::uuid
    $$
"""
OUTBOX = """
    INSERT INTO outbox (event_id, topic, key, headers, body, sent_at)
    SELECT pg_temp.past_id(n, '{purpose}'), '{topic}', pg_temp.past_id(n, 'person')::text,
           repeat('h', 500), decode(repeat('62', 350), 'hex'), now()
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
"""
INBOX = """
    INSERT INTO inbox (consumer, event_id)
    SELECT '{consumer}', pg_temp.past_id(n, '{purpose}')
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
"""
CONTRIBUTIONS = """
    INSERT INTO contribution (
        id, insured_person_id, scheme, region, period, base_fen, amount_fen, currency, shares,
        rule_id, provisional, status, version, payment_order_id, can_retry, paid_by_attempt_id,
        paid_at, correlation_id, created_at)
    SELECT pg_temp.past_id(n, 'contribution'), pg_temp.past_id(n, 'person'), 'flexible', '310000',
           '2026-01', 1000000, 200000, 'CNY', '[]', 'past', false, 'PAID', 3,
           pg_temp.past_id(n, 'order'), false, pg_temp.past_id(n, 'attempt'), now(),
           pg_temp.past_id(n, 'thread'), now()
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
"""
REQUESTS = """
    INSERT INTO payment_request (
        payment_order_id, contribution_id, insured_person_id, payer_id, amount_fen, currency,
        scheme, region, period, status, version, ask_count, next_ask_at, outcome_sequence,
        expires_at, attempt_id, correlation_id, created_at)
    SELECT pg_temp.past_id(n, 'order'), pg_temp.past_id(n, 'contribution'),
           pg_temp.past_id(n, 'person'), pg_temp.past_id(n, 'person'), 200000, 'CNY', 'flexible',
           '310000', '2026-01', 'SETTLED', 1, 0, now(), 2, now(), pg_temp.past_id(n, 'attempt'),
           pg_temp.past_id(n, 'thread'), now() - interval '1 day'
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
"""
ORDERS = """
    INSERT INTO payment_order (
        id, contribution_id, insured_person_id, payer_id, amount_fen, currency, scheme, region,
        period, channel, status, version, expires_at, opened_at, correlation_id, causation_id,
        last_ask_sequence, settled_version, attempt_id, settled_channel, channel_trade_no,
        settled_at)
    SELECT pg_temp.past_id(n, 'order'), pg_temp.past_id(n, 'contribution'),
           pg_temp.past_id(n, 'person'), pg_temp.past_id(n, 'person'), 200000, 'CNY', 'flexible',
           '310000', '2026-01', 'bank-direct-debit', 'SETTLED', 2, now(), now(),
           pg_temp.past_id(n, 'thread'), pg_temp.past_id(n, 'requested'), 1, 2,
           pg_temp.past_id(n, 'attempt'), 'bank-direct-debit', 'past' || n, now()
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
"""
ATTEMPTS = """
    INSERT INTO payment_attempt (
        id, order_id, channel, amount_fen, status, version, expires_at, created_at, next_call,
        send_count, first_sent_at, trade_no, received_fen, succeeded_at)
    SELECT pg_temp.past_id(n, 'attempt'), pg_temp.past_id(n, 'order'), 'bank-direct-debit', 200000,
           'SUCCEEDED', 2, now(), now(), 'query', 1, now(), 'past' || n, 200000, now()
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
"""
NOTIFICATIONS = """
    INSERT INTO notification (
        id, event_id, person_id, channel, template, role, contribution_id, payment_order_id,
        facts, occurred_at, status, status_at)
    SELECT pg_temp.past_id(n, kind), pg_temp.past_id(n, kind), pg_temp.past_id(n, 'person'),
           'inbox', 'payment_settled', 'insured', pg_temp.past_id(n, 'contribution'),
           pg_temp.past_id(n, 'order'), '{{"amount_fen":200000}}', now() - interval '1 day',
           'DELIVERED', now()
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n,
         unnest(ARRAY['assessed', 'requested', 'settled', 'sms']) AS kind
"""
STATEMENTS: Mapping[str, tuple[str, ...]] = {
    "billing": (
        CONTRIBUTIONS,
        REQUESTS,
        OUTBOX.format(purpose="assessed", topic="billing.contributions"),
        OUTBOX.format(purpose="requested", topic="billing.contributions"),
        INBOX.format(consumer="billing", purpose="settled"),
    ),
    "payment": (
        ORDERS,
        ATTEMPTS,
        OUTBOX.format(purpose="settled", topic="payment.orders"),
        INBOX.format(consumer="payment", purpose="requested"),
    ),
    "notifier": (
        NOTIFICATIONS.format(),
        INBOX.format(consumer="notifier", purpose="assessed"),
        INBOX.format(consumer="notifier", purpose="requested"),
        INBOX.format(consumer="notifier", purpose="settled"),
    ),
}


def fill(databases: Mapping[str, str], first: int, last: int) -> None:
    """Write the orders numbered `first` to `last` into every table that keeps them."""
    for service, statements in STATEMENTS.items():
        with psycopg.connect(databases[service], autocommit=True) as connection:
            connection.execute("SET statement_timeout = 0")
            connection.execute(ID)
            for start in range(first, last + 1, STEP):
                chosen = {"first": start, "last": min(last, start + STEP - 1)}
                for statement in statements:
                    connection.execute(statement, chosen)
            connection.execute("ANALYZE")
