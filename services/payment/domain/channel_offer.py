"""What payment announces of its channels, so that nobody asks for what cannot be."""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec.structs import replace

from services.payment.domain.channel import Capabilities
from services.payment.domain.switch import Stopped
from shared.kernel.events import ChannelOffer

STOPPED, NOT_CONFIGURED = "stopped", "not_configured"

Offers = tuple[ChannelOffer, ...]


class ChannelList(msgspec.Struct, frozen=True, kw_only=True):
    """What was announced last, without what moves on by itself; `version` is its sequence."""

    id: UUID
    version: int
    default_channel: str
    offers: Offers
    announced_at: datetime


def offers_of(
    channels: Mapping[str, Capabilities],
    *,
    configured: Collection[str],
    stopped: Stopped,
    now: datetime,
) -> Offers:
    """Every channel as it stands; those that are not `configured` have no address."""
    return tuple(
        _offer(channel, _why_off(id, configured, stopped), now) for id, channel in channels.items()
    )


def lasting(offers: Offers) -> Offers:
    """The same without what moves on by itself: what is left changes when somebody changes it."""
    return tuple(replace(offer, charges_from=None) for offer in offers)


def _why_off(id: str, configured: Collection[str], stopped: Stopped) -> str | None:
    if id not in configured:
        return NOT_CONFIGURED
    return STOPPED if id in stopped else None


def _offer(channel: Capabilities, off_because: str | None, now: datetime) -> ChannelOffer:
    window = channel.debit_window
    return ChannelOffer(
        id=channel.id,
        name_zh=channel.name.zh,
        name_en=channel.name.en,
        on=off_because is None,
        off_because=off_because,
        min_amount_fen=channel.minimum.fen,
        max_amount_fen=channel.maximum.fen,
        regions=None if channel.regions is None else tuple(sorted(channel.regions)),
        needs_mandate=channel.needs_mandate,
        charges_from=window.first_at(now) if window else None,
    )
