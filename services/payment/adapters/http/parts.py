"""What payment's endpoints work with, and what they share."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated
from uuid import UUID

from fastapi import Depends

from services.payment.adapters.channels.pace import ChannelPace
from services.payment.adapters.http.models import SupportLine, Words
from services.payment.adapters.http.notification_desk import NotificationDesk
from services.payment.adapters.http.order_streams import OrderStreams
from services.payment.adapters.postgres.refused_notifications import Evidence
from services.payment.adapters.postgres.switch_board import SwitchBoard
from services.payment.adapters.postgres.views import OrderView, find_order
from services.payment.adapters.redis.stream_tickets import StreamTickets
from services.payment.application.call_cashiers import CashierCalls
from services.payment.application.ports import CashierChannel
from services.payment.domain.channel import Capabilities, ChannelKind
from services.payment.domain.refusal import refused
from shared.kernel.clock import Clock
from shared.kernel.wording import Language, Wording
from shared.runtime.database.database import Database
from shared.runtime.http.client_address import ClientAddresses
from shared.runtime.http.parts import parts_of


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the endpoints work with; `main` puts it on the application.

    `channels` are all whose orders may exist; those that can be called are in `calls`.
    """

    database: Database
    channels: Mapping[str, Capabilities]
    calls: CashierCalls
    desk: NotificationDesk
    evidence: Evidence
    switches: SwitchBoard
    pace: ChannelPace
    support: SupportLine
    tickets: StreamTickets
    streams: OrderStreams
    client_addresses: ClientAddresses
    return_base_url: str | None
    clock: Clock

    @property
    def configured(self) -> dict[str, Capabilities]:
        """Channels that can take a payment; the direct ones are called by the worker."""
        return {
            id: channel
            for id, channel in self.channels.items()
            if (channel.kind is ChannelKind.DIRECT and channel.usable) or id in self.calls.channels
        }

    @cached_property
    def cashiers(self) -> dict[str, CashierChannel]:
        """Channels that tell us of payments by themselves."""
        called = self.calls.channels.items()
        return {id: channel for id, channel in called if isinstance(channel, CashierChannel)}

    @property
    def silent(self) -> frozenset[str]:
        """Channels that this process does not call now: their last calls all failed."""
        opened = self.calls.channels.items()
        return frozenset(id for id, channel in opened if not channel.capabilities.usable)

    def words(self, language: Language) -> Words:
        return Words(
            channels=self.channels,
            support=self.support,
            language=language,
            now=self.clock.now(),
            stopped=self.switches.stopped,
            cashiers=[called.capabilities for called in self.cashiers.values()],
        )

    def channel_name(self, channel_id: str) -> Wording:
        channel = self.channels.get(channel_id)
        return channel.name if channel else Wording("", "")


Here = Annotated[Parts, Depends(parts_of)]


async def find(here: Parts, order_id: UUID, person_id: UUID) -> OrderView:
    """Raises Refused: unknown, somebody else's and not yet opened orders answer the same."""
    view = await find_order(here.database, order_id, person_id=person_id)
    if view is None:
        raise refused("order_not_yet_known", retry_after_seconds=1)
    return view
