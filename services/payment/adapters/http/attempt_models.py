"""What the attempt endpoints take and give; the payer's details are never kept."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field

from services.payment.adapters.http.models import AttemptStatusOut
from services.payment.domain.next_action import (
    Form,
    NextAction,
    QrCode,
    Redirect,
    SdkFields,
    SdkString,
    Started,
)
from services.payment.domain.payment_attempt import PaymentAttempt
from shared.runtime.http.parts import Instant
from shared.runtime.http.web import Strict


class NewAttempt(Strict):
    """How the payer wants to pay. `openid` goes to the channel and nowhere else."""

    channel: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    method: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    openid: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")] | None = None


class RedirectOut(BaseModel):
    """Open this address."""

    type: Literal["redirect"] = "redirect"
    url: str


class FormOut(BaseModel):
    """Post these fields to this address."""

    type: Literal["form"] = "form"
    url: str
    fields: dict[str, str]


class QrCodeOut(BaseModel):
    """Show this as a QR code."""

    type: Literal["qr_code"] = "qr_code"
    content: str


class SdkStringOut(BaseModel):
    """Hand this to the channel's library in the app."""

    type: Literal["sdk_string"] = "sdk_string"
    content: str


class SdkFieldsOut(BaseModel):
    """Hand these to the channel's bridge in the page, or to its library."""

    type: Literal["sdk_fields"] = "sdk_fields"
    fields: dict[str, str]


NextActionOut = Annotated[
    RedirectOut | FormOut | QrCodeOut | SdkStringOut | SdkFieldsOut, Field(discriminator="type")
]


class StartedOut(BaseModel):
    """An attempt that began, and what the payer must do next; null where nothing is left to do.

    `action_expires_at`: the same request with the same key gives a fresh action.
    `return_token`: for `GET /payment/v1/returns/{return_token}`, without a log-in.
    """

    attempt_id: UUID
    order_id: UUID
    channel: str
    method: str | None
    status: AttemptStatusOut
    next_action: NextActionOut | None
    action_expires_at: Instant | None
    return_token: str
    return_token_expires_at: Instant

    @classmethod
    def of(
        cls,
        attempt: PaymentAttempt,
        started: Started | None,
        *,
        return_token: str,
        return_until: datetime,
    ) -> Self:
        return cls.model_validate(
            {
                "attempt_id": attempt.id,
                "order_id": attempt.order_id,
                "channel": attempt.channel,
                "method": attempt.method,
                "status": attempt.status.value.lower(),
                "next_action": _action(started.next_action) if started else None,
                "action_expires_at": started.expires_at if started else None,
                "return_token": return_token,
                "return_token_expires_at": return_until,
            }
        )


def _action(action: NextAction) -> BaseModel:
    match action:
        case Redirect():
            return RedirectOut(url=action.url)
        case Form():
            return FormOut(url=action.url, fields=dict(action.fields))
        case QrCode():
            return QrCodeOut(content=action.content)
        case SdkString():
            return SdkStringOut(content=action.content)
        case SdkFields():
            return SdkFieldsOut(fields=dict(action.fields))
