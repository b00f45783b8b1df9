"""What the notifier's API answers."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from services.notifier.application.ports import InboxEntry, SmsState, Texts
from shared.kernel.wording import Language

SmsStatus = Literal[
    "queued", "submitted", "delivered", "undeliverable", "unknown", "suppressed", "overtaken"
]


class SmsOut(BaseModel):
    """How far the SMS with the same news got, and since when."""

    status: SmsStatus
    at: datetime

    @classmethod
    def of(cls, sms: SmsState) -> "SmsOut":
        return cls.model_validate({"status": sms.status.value.lower(), "at": sms.at})


class NotificationOut(BaseModel):
    """One entry of a person's inbox, in words."""

    id: UUID
    created_at: datetime
    kind: str
    title: str
    text: str
    contribution_id: UUID
    payment_order_id: UUID | None
    sms: SmsOut | None

    @classmethod
    def of(cls, entry: InboxEntry, texts: Texts, language: Language) -> "NotificationOut":
        words = texts.inbox(entry, language)
        return cls(
            id=entry.id,
            created_at=entry.occurred_at,
            kind=entry.template,
            title=words.title,
            text=words.text,
            contribution_id=entry.contribution_id,
            payment_order_id=entry.payment_order_id,
            sms=SmsOut.of(entry.sms) if entry.sms else None,
        )


class NotificationPage(BaseModel):
    """Newest first; `next_cursor` leads to older ones."""

    items: list[NotificationOut]
    next_cursor: str | None
