"""Remember what payment announces of its channels."""

from collections.abc import Sequence

from services.billing.application.ports import Unit
from services.billing.domain.channel_choice import KnownChannels
from shared.kernel.events import ChannelsChanged, Message


async def learn_channels(unit: Unit, messages: Sequence[Message[ChannelsChanged]]) -> None:
    """An announcement whose sequence is not above the last one applied changes nothing.

    It is as old as its saying, not as its arrival: what waited in a log is not believed longer.
    """
    for message in messages:
        await unit.channels.save(
            message.body.channel_list_id,
            message.envelope.sequence,
            KnownChannels(
                default_channel=message.body.default_channel,
                offers=message.body.channels,
                announced_at=message.envelope.time,
            ),
        )
