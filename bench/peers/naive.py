"""The same saga as it is usually written: one ORM session and one `send_and_wait` per event.

Same tables, inbox, outbox, pool, settings and servers; every event is read, decided, committed
and sent by itself. `python -m bench.peers.naive <billing|payment|notifier> --lanes 4` runs one
service; lanes are events of different people under way at the same time. It says `ready` when
it stands at the end of its topics.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.ext.automap import automap_base

from services.notifier.domain.announcements import ANNOUNCEMENTS, notifications_of
from services.notifier.domain.notifications import Channel
from shared.kernel.events import (
    CONTRIBUTIONS_TOPIC,
    ORDERS_TOPIC,
    Envelope,
    Message,
    PaymentRequested,
    PaymentSettled,
    decode,
)
from shared.kernel.ids import event_id, new_id
from shared.runtime.database.unit_of_work import outbox_row
from shared.runtime.messaging.sender import ACKS
from testing.stacks.book import Book, Charge, Sms
from testing.stacks.core_process import BOOK_DIR

TOPICS = {
    "billing": (ORDERS_TOPIC,),
    "payment": (CONTRIBUTIONS_TOPIC,),
    "notifier": (CONTRIBUTIONS_TOPIC, ORDERS_TOPIC),
}
# The product's: two for the reactions, one for the relay.
POOL_SIZE = 3
RELAY_ROWS = 100
POLL_SECONDS = 0.02

Sessions = Callable[[], AsyncSession]
Reaction = Callable[[Message[Any]], Awaitable[None]]


class Service:
    """One service's reactions, an ORM session for each event."""

    def __init__(self, name: str, sessions: Sessions, models: Any, book: Book) -> None:
        self._name = name
        self._sessions = sessions
        self._models = models
        self._book = book

    def reaction(self) -> Reaction:
        return {"billing": self._billing, "payment": self._payment, "notifier": self._notifier}[
            self._name
        ]

    async def _billing(self, message: Message[Any]) -> None:
        if not isinstance(message.body, PaymentSettled):
            return
        settled = message.body
        async with self._sessions() as session, session.begin():
            await self._claim(session, message)
            contribution = await _locked(
                session, self._models.contribution, settled.contribution_id
            )
            request = await _locked(session, self._models.payment_request, settled.payment_order_id)
            contribution.status, contribution.version = "PAID", contribution.version + 1
            contribution.paid_by_attempt_id = settled.attempt_id
            contribution.paid_at = settled.settled_at
            request.status, request.attempt_id = "SETTLED", settled.attempt_id
            request.outcome_sequence = message.envelope.sequence

    async def _payment(self, message: Message[Any]) -> None:
        if not isinstance(message.body, PaymentRequested):
            return
        attempt_id = new_id()
        async with self._sessions() as session, session.begin():
            await self._claim(session, message)
            session.add(self._order(message))
            await session.flush()
            session.add(self._attempt(message.body, attempt_id))
        charge = Charge(
            id=attempt_id,
            amount_fen=message.body.amount_fen,
            at=datetime.now(UTC),
            pid=os.getpid(),
        )
        await self._settle(message.body.payment_order_id, self._book.charges.write(charge))

    async def _settle(self, order_id: UUID, charge: Charge) -> None:
        async with self._sessions() as session, session.begin():
            order = await _locked(session, self._models.payment_order, order_id)
            attempt = await _locked(session, self._models.payment_attempt, charge.id)
            attempt.status, attempt.version, attempt.due_at = "SUCCEEDED", 2, None
            attempt.trade_no, attempt.received_fen = charge.trade_no, charge.amount_fen
            attempt.succeeded_at = charge.at
            order.status, order.version, order.settled_version = "SETTLED", 2, 2
            order.attempt_id, order.settled_channel = charge.id, order.channel
            order.channel_trade_no, order.settled_at = charge.trade_no, charge.at
            session.add(self._outbox(_settled(order)))

    async def _notifier(self, message: Message[Any]) -> None:
        announcement = ANNOUNCEMENTS.get(type(message.body))
        if announcement is None:
            return
        sms_ids: list[UUID] = []
        async with self._sessions() as session, session.begin():
            await self._claim(session, message)
            for told in notifications_of(message, announcement):
                session.add(self._notification(told))
                if told.channel is Channel.SMS:
                    sms_ids.append(told.id)
        for sms_id in sms_ids:
            sms = Sms(id=sms_id, template="naive", at=datetime.now(UTC), pid=os.getpid())
            self._book.messages.write(sms)
            async with self._sessions() as session, session.begin():
                sent = await _locked(session, self._models.notification, sms_id)
                sent.status, sent.due_at = "DELIVERED", None

    async def _claim(self, session: AsyncSession, message: Message[Any]) -> None:
        claim = self._models.inbox(consumer=self._name, event_id=message.envelope.event_id)
        session.add(claim)
        await session.flush()

    def _order(self, message: Message[PaymentRequested]) -> Any:
        body = message.body
        return self._models.payment_order(
            id=body.payment_order_id,
            contribution_id=body.contribution_id,
            insured_person_id=body.insured_person_id,
            payer_id=body.payer_id,
            amount_fen=body.amount_fen,
            currency=body.currency,
            scheme=body.scheme,
            region=body.region,
            period=body.period,
            channel="bank-direct-debit",
            status="REQUESTED",
            version=1,
            expires_at=body.expires_at,
            opened_at=datetime.now(UTC),
            correlation_id=message.envelope.correlation_id,
            causation_id=message.envelope.event_id,
            last_ask_sequence=message.envelope.sequence,
        )

    def _attempt(self, body: PaymentRequested, attempt_id: UUID) -> Any:
        now = datetime.now(UTC)
        return self._models.payment_attempt(
            id=attempt_id,
            order_id=body.payment_order_id,
            channel="bank-direct-debit",
            amount_fen=body.amount_fen,
            status="STARTED",
            version=1,
            expires_at=body.expires_at,
            created_at=now,
            next_call="query",
            due_at=body.expires_at,
            send_count=1,
            first_sent_at=now,
        )

    def _notification(self, told: Any) -> Any:
        status = told.first_status.value
        return self._models.notification(
            id=told.id,
            event_id=told.event_id,
            person_id=told.person_id,
            channel=told.channel.value,
            template=told.template,
            role=told.role.value,
            contribution_id=told.contribution_id,
            payment_order_id=told.payment_order_id,
            facts=msgspec.json.encode(told.facts).decode(),
            occurred_at=told.occurred_at,
            status=status,
            status_at=datetime.now(UTC),
            due_at=datetime.now(UTC) if status == "QUEUED" else None,
        )

    def _outbox(self, told: tuple[Envelope, PaymentSettled]) -> Any:
        row = outbox_row(*told)
        return self._models.outbox(
            event_id=row.event_id, topic=row.topic, key=row.key, headers=row.headers, body=row.body
        )

    async def relay(self, producer: AIOKafkaProducer) -> None:
        """Send what is unsent, each event by itself."""
        outbox = self._models.outbox
        queue = self._models.outbox_queue
        unsent = select(outbox).join(queue, queue.id == outbox.id).order_by(outbox.id)
        while True:
            async with self._sessions() as session:
                rows = (await session.scalars(unsent.limit(RELAY_ROWS))).all()
            for row in rows:
                headers = [
                    (name, value.encode()) for name, value in msgspec.json.decode(row.headers)
                ]
                await producer.send_and_wait(
                    row.topic, row.body, key=row.key.encode(), headers=headers
                )
                async with self._sessions() as session, session.begin():
                    await session.execute(delete(queue).where(queue.id == row.id))
            if not rows:
                await asyncio.sleep(POLL_SECONDS)


async def _locked(session: AsyncSession, model: Any, row_id: UUID) -> Any:
    row = await session.get(model, row_id, with_for_update=True)
    assert row is not None
    return row


def _settled(order: Any) -> tuple[Envelope, PaymentSettled]:
    body = PaymentSettled(
        insured_person_id=order.insured_person_id,
        payment_order_id=order.id,
        contribution_id=order.contribution_id,
        payer_id=order.payer_id,
        amount_fen=order.amount_fen,
        currency=order.currency,
        attempt_id=order.attempt_id,
        channel=order.channel,
        channel_trade_no=order.channel_trade_no,
        settled_at=order.settled_at,
    )
    envelope = Envelope(
        event_id=event_id(body.type, order.id, order.version),
        type=body.type,
        source="songhe/payment",
        time=datetime.now(UTC),
        subject=order.id,
        sequence=order.version,
        schema_version=body.version,
        correlation_id=order.correlation_id,
        causation_id=order.causation_id,
        traceparent=None,
    )
    return envelope, body


async def consume(kafka: AIOKafkaConsumer, react: Reaction, lanes: int) -> None:
    """One event after the other, or in lanes by person."""
    while True:
        fetched = await kafka.getmany(timeout_ms=200)
        records = [record for batch in fetched.values() for record in batch]
        by_lane: list[list[ConsumerRecord]] = [[] for _ in range(lanes)]
        for record in records:
            by_lane[hash(record.key) % lanes].append(record)
        await asyncio.gather(*(_one_by_one(lane, react) for lane in by_lane))


async def _one_by_one(records: Sequence[ConsumerRecord], react: Reaction) -> None:
    for record in records:
        await react(decode(record.headers, record.value))


async def run(name: str, lanes: int) -> None:
    """Until it is killed."""
    engine = create_async_engine(os.environ["SONGHE_DATABASE_URL"], pool_size=POOL_SIZE)
    base: Any = automap_base()
    async with engine.begin() as connection:
        await connection.run_sync(lambda bind: base.prepare(autoload_with=bind))
    book = Book(Path(os.environ[BOOK_DIR]))
    service = Service(
        name, lambda: AsyncSession(engine, expire_on_commit=False), base.classes, book
    )
    servers = os.environ["SONGHE_KAFKA_BOOTSTRAP_SERVERS"]
    kafka = AIOKafkaConsumer(
        *TOPICS[name], bootstrap_servers=servers, group_id=f"naive-{name}-{os.getpid()}"
    )
    producer = AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True, acks=ACKS)
    async with kafka, producer:
        await kafka.seek_to_end()
        for place in kafka.assignment():
            await kafka.position(place)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(consume(kafka, service.reaction(), lanes))
            if name != "notifier":
                tasks.create_task(service.relay(producer))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.peers.naive")
    parser.add_argument("service", choices=TOPICS)
    parser.add_argument("--lanes", type=int, default=1)
    options = parser.parse_args()
    uvloop.run(run(options.service, options.lanes))
