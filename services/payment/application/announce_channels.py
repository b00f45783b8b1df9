"""Announce what each channel can take: when somebody changes it, and every five minutes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.payment.application.ports import Transactions
from services.payment.domain.channel import Capabilities
from services.payment.domain.channel_offer import ChannelList, Offers, lasting, offers_of
from shared.kernel.clock import Clock
from shared.kernel.events import ChannelsChanged
from shared.kernel.ids import SONGHE_NAMESPACE, derived_id, new_id

# There is one list; whoever hears of it knows it by this id.
CHANNEL_LIST_ID = derived_id(SONGHE_NAMESPACE, "channel_list")
# A third of the time for which it is believed: two announcements may be lost.
ANNOUNCE_EVERY = timedelta(minutes=5)


@dataclass(kw_only=True)
class ChannelAnnouncer:
    """One step looks once; run it in a DueLoop.

    Where two processes have other settings (a release under way), each announces its own when it
    starts, and not again for nothing but the difference.
    """

    transactions: Transactions
    channels: Mapping[str, Capabilities]
    configured: Collection[str]
    default_channel: str
    clock: Clock
    _seen: Offers | None = field(default=None, init=False)

    async def step(self) -> int:
        """Returns 0: there is never more to do at once."""
        now = self.clock.now()
        async with self.transactions() as unit:
            offers = offers_of(
                self.channels,
                configured=self.configured,
                stopped=await unit.switches.stopped(),
                now=now,
            )
            before = await unit.channel_lists.find(CHANNEL_LIST_ID)
            if not self._is_due(before, offers, now):
                self._seen = lasting(offers)
                return 0
            after = ChannelList(
                id=CHANNEL_LIST_ID,
                version=before.version + 1 if before else 1,
                default_channel=self.default_channel,
                offers=lasting(offers),
                announced_at=now,
            )
            if not await unit.channel_lists.save(before, after):
                # Another worker was first; the next step looks at what it announced.
                return 0
            unit.emit(
                ChannelsChanged(
                    channel_list_id=after.id,
                    default_channel=after.default_channel,
                    channels=offers,
                ),
                subject=after.id,
                sequence=after.version,
                correlation_id=new_id(),
            )
        self._seen = after.offers
        return 0

    def _is_due(self, before: ChannelList | None, offers: Offers, now: datetime) -> bool:
        # Also where the clock was set back: whoever hears of it reads the time, too.
        if before is None or abs(now - before.announced_at) >= ANNOUNCE_EVERY:
            return True
        if lasting(offers) == self._seen:
            return False
        return (before.default_channel, before.offers) != (self.default_channel, lasting(offers))
