"""The SMS gateway: accepts a message once per reference and settles it a moment later."""

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field, StrictInt

from sandbox.book import Book
from sandbox.faults.faults import Faults
from sandbox.problems import REFERENCE_PATTERN, Cursor, Limit, Reference, Strict
from shared.kernel.clock import to_rfc3339
from shared.kernel.errors import Refused

Status = Literal["accepted", "delivered", "undeliverable"]
# [0-9] and not \\d, which also means the digits of other scripts.
PHONE_PATTERN = r"^\+[1-9][0-9]{6,14}$"
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Variable = Annotated[str, Field(max_length=500)] | StrictInt | None


class NewMessage(Strict):
    reference: Annotated[str, Field(pattern=REFERENCE_PATTERN)]
    phone: Annotated[str, Field(pattern=PHONE_PATTERN)]
    template: Name
    variables: dict[Name, Variable] = Field(default_factory=dict, max_length=32)
    text: Annotated[str, Field(min_length=1, max_length=1_000)]


class Accepted(BaseModel):
    reference: str
    status: Literal["accepted"] = "accepted"


class MessageStatus(BaseModel):
    """`reason` only where the message is undeliverable."""

    reference: str
    status: Status
    sent_at: str
    reason: str | None = None


class SentMessage(BaseModel):
    """What a clerk or a test sees."""

    sent_at: str
    phone: str
    template: str
    text: str
    reference: str
    status: Status


class SentMessages(BaseModel):
    items: list[SentMessage]
    next_cursor: str | None


class SmsGateway:
    """Messages in the book. Their status is read off the clock, so no timer can be lost."""

    def __init__(self, book: Book, faults: Faults, *, delivery_delay: timedelta) -> None:
        self._book = book
        self._faults = faults
        self._delivery_delay = delivery_delay

    def accept(self, message: NewMessage) -> None:
        """Book the message once; a reference that is known already changes nothing."""
        with self._book.transaction():
            if self._first(message.reference) is not None:
                return
            declined = self._faults.fire("decline", "sms", "send")
            copies = 2 if self._faults.fire("duplicate", "sms", "send") else 1
            for copy in range(1, copies + 1):
                self._insert(message, copy=copy, reason=declined.reason if declined else None)

    def _insert(self, message: NewMessage, *, copy: int, reason: str | None) -> None:
        now = datetime.now(UTC)
        self._book.execute(
            "INSERT INTO message (reference, copy, phone, template, variables, text, sent_at,"
            " settles_at, outcome, reason) VALUES (:reference, :copy, :phone, :template,"
            " :variables, :text, :sent_at, :settles_at, :outcome, :reason)",
            reference=message.reference,
            copy=copy,
            phone=message.phone,
            template=message.template,
            variables=json.dumps(message.variables, ensure_ascii=False, sort_keys=True),
            text=message.text,
            sent_at=to_rfc3339(now),
            settles_at=to_rfc3339(now + self._delivery_delay),
            outcome="undeliverable" if reason else "delivered",
            reason=reason,
        )

    def _first(self, reference: str) -> sqlite3.Row | None:
        return self._book.row(
            "SELECT * FROM message WHERE reference = :reference AND copy = 1", reference=reference
        )

    def status(self, reference: str) -> MessageStatus:
        """Raises Refused when no message has this reference."""
        message = self._first(reference)
        if message is None:
            raise Refused("not_found", "No message has this reference.", status=404)
        status = _status(message)
        return MessageStatus(
            reference=reference,
            status=status,
            sent_at=message["sent_at"],
            reason=message["reason"] if status == "undeliverable" else None,
        )

    def sent(self, phone: str | None, *, limit: int, before: int | None) -> SentMessages:
        rows, next_cursor = self._book.page(
            "SELECT * FROM message" + (" WHERE phone = :phone" if phone else ""),
            phone=phone,
            limit=limit,
            before=before,
        )
        items = [SentMessage(**{**dict(row), "status": _status(row)}) for row in rows]
        return SentMessages(items=items, next_cursor=next_cursor)


def _status(message: sqlite3.Row) -> Status:
    # RFC 3339 text of fixed width in UTC compares like the instants.
    if to_rfc3339(datetime.now(UTC)) < message["settles_at"]:
        return "accepted"
    return "undeliverable" if message["outcome"] == "undeliverable" else "delivered"


def sms_routes(gateway: SmsGateway, faults: Faults) -> APIRouter:
    router = APIRouter(tags=["sms"])

    @router.post("/sms/v1/messages", status_code=202)
    async def send_message(message: NewMessage, request: Request) -> Accepted:
        await faults.before(request, "sms", "send")
        gateway.accept(message)
        await faults.after(request, "sms", "send")
        return Accepted(reference=message.reference)

    @router.get("/sms/v1/messages/{reference}", response_model_exclude_none=True)
    async def query_message(reference: Reference, request: Request) -> MessageStatus:
        await faults.before(request, "sms", "query")
        status = gateway.status(reference)
        await faults.after(request, "sms", "query")
        return status

    @router.get("/sandbox/v1/sms")
    async def list_messages(
        phone: Annotated[str | None, Query(max_length=32)] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> SentMessages:
        # A plus sign typed into a query string arrives as a space.
        wanted = phone.replace(" ", "+", 1) if phone else None
        return gateway.sent(wanted, limit=limit, before=int(cursor) if cursor else None)

    return router
