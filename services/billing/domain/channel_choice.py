"""Whether a payment can begin at a channel, by what payment announced of its channels.

What was announced is believed for a time; what billing cannot know then stays payment's to say.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.billing.domain.refusal import refused, unavailable
from shared.kernel.clock import to_rfc3339
from shared.kernel.errors import SongheError
from shared.kernel.events import CHANNEL_IDS, CHOSEN_BY_PAYER, ChannelOffer
from shared.kernel.money import Money
from shared.kernel.wording import Wording

# Three announcements of payment's, which come every five minutes.
BELIEVED_FOR = timedelta(minutes=15)
STOPPED_RETRY_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownChannels:
    """What payment announced, and when."""

    default_channel: str
    offers: tuple[ChannelOffer, ...]
    announced_at: datetime

    def is_believed(self, now: datetime) -> bool:
        """Not where it is old, nor where it comes from a future that cannot be told from it."""
        return abs(now - self.announced_at) <= BELIEVED_FOR

    def offer(self, channel: str) -> ChannelOffer | None:
        return next((offer for offer in self.offers if offer.id == channel), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """What a channel would have to take, from whom, and until when."""

    amount: Money
    region: str
    has_mandate: bool
    expires_at: datetime


def check_known(channel: str | None, known: KnownChannels | None) -> None:
    """Raises Refused `channel_unknown` for a name that nobody gave to a channel."""
    if channel is None or channel == CHOSEN_BY_PAYER:
        return
    names = CHANNEL_IDS if known is None else [offer.id for offer in known.offers]
    if channel not in names:
        raise refused("channel_unknown")


def check_channel(channel: str | None, known: KnownChannels, wanted: Collection) -> None:
    """Raises where the channel, or the default one, surely cannot collect this.

    Refused: `channel_unknown`, `channel_not_configured`, `amount_not_taken`, `region_not_taken`,
    `mandate_missing`, `charged_too_late`; Unavailable: `channel_stopped`, and `no_channel` where
    the payer is to choose one later and none could collect it.
    """
    check_known(channel, known)
    chosen = channel or known.default_channel
    if chosen == CHOSEN_BY_PAYER:
        if all(obstacle(offer, wanted) for offer in known.offers):
            raise unavailable("no_channel", retry_after_seconds=STOPPED_RETRY_SECONDS)
        return
    offer = known.offer(chosen)
    if offer is None:
        raise refused("channel_unknown")
    if (found := obstacle(offer, wanted)) is not None:
        raise found


def obstacle(offer: ChannelOffer, wanted: Collection) -> SongheError | None:
    """Why this channel cannot collect it; None where nothing is known against it."""
    fill = {"channel": Wording(zh=offer.name_zh, en=offer.name_en)}
    if not offer.on and offer.off_because == "stopped":
        return unavailable("channel_stopped", fill=fill, retry_after_seconds=STOPPED_RETRY_SECONDS)
    if not offer.on:
        return refused("channel_not_configured", fill=fill, channel=offer.id)
    if not offer.min_amount_fen <= wanted.amount.fen <= offer.max_amount_fen:
        limits = {"min_fen": offer.min_amount_fen, "max_fen": offer.max_amount_fen}
        return refused("amount_not_taken", fill=fill, channel=offer.id, limits=limits)
    if not _serves(offer, wanted.region):
        return refused("region_not_taken", fill=fill, channel=offer.id)
    if offer.needs_mandate and not wanted.has_mandate:
        return refused("mandate_missing", fill=fill, channel=offer.id)
    if offer.charges_from is not None and offer.charges_from >= wanted.expires_at:
        # Nobody may be debited before the order would be over.
        first = to_rfc3339(offer.charges_from)
        return refused("charged_too_late", fill=fill, channel=offer.id, charges_from=first)
    return None


def _serves(offer: ChannelOffer, region: str) -> bool:
    """A province stands for its cities."""
    return offer.regions is None or not {region, region[:2] + "0000"}.isdisjoint(offer.regions)
