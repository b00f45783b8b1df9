"""What the channel endpoints give: each channel's facts as data, and whether it works now."""

from collections.abc import Container
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field

from services.payment.domain.channel import Capabilities, Method
from shared.kernel.wording import Language
from shared.runtime.http.parts import Fen

Seconds = Annotated[int, Field(ge=0)]


class ChannelLimits(BaseModel):
    min_fen: Fen
    max_fen: Fen


class MethodOut(BaseModel):
    """A way to open the cashier, and where the payer must be for it."""

    id: str
    opens_in: Literal["phone_browser", "channel_app", "our_app", "other_device"]
    needs_openid: bool

    @classmethod
    def of(cls, method: Method) -> Self:
        return cls.model_validate(
            {
                "id": method.id,
                "opens_in": method.opens_in.value,
                "needs_openid": method.needs_openid,
            }
        )


class ChannelOut(BaseModel):
    """A way to pay. `direct` starts by itself, at a `cashier` the payer confirms.

    `usable`: a payment can begin now; `reason` says why not. `slow`: it answers, but late.
    """

    id: str
    kind: Literal["direct", "cashier"]
    name: str
    usable: bool
    reason: Literal["stopped", "not_configured", "silent"] | None
    slow: bool
    limits: ChannelLimits
    methods: list[MethodOut]
    shortest_expiry_seconds: Seconds
    idempotency_window_seconds: Seconds
    refund_window_seconds: Annotated[
        Seconds | None, Field(description="How long money can go back; null: it cannot")
    ]
    has_bill: bool

    @classmethod
    def of(
        cls,
        channel: Capabilities,
        language: Language,
        *,
        stopped: Container[str],
        slow: Container[str],
        silent: Container[str],
        configured: Container[str],
    ) -> Self:
        reason = "silent" if channel.id in silent else None
        if channel.id in stopped:
            reason = "stopped"
        if channel.id not in configured or not channel.usable:
            reason = "not_configured"
        return cls.model_validate(
            {
                "id": channel.id,
                "kind": channel.kind.value,
                "name": channel.name.in_language(language),
                "usable": reason is None,
                "reason": reason,
                "slow": channel.id in slow,
                "limits": {"min_fen": channel.minimum.fen, "max_fen": channel.maximum.fen},
                "methods": [MethodOut.of(method) for method in channel.methods],
                "shortest_expiry_seconds": _seconds(channel.shortest_expiry),
                "idempotency_window_seconds": _seconds(channel.idempotency_window),
                "refund_window_seconds": _seconds(channel.refund_window),
                "has_bill": channel.has_bill,
            }
        )


class ChannelPage(BaseModel):
    items: list[ChannelOut]
    next_cursor: str | None = None


def _seconds(duration: timedelta | None) -> int | None:
    return None if duration is None else int(duration.total_seconds())
