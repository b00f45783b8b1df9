"""Observations about channels: no facts about money, and they may be lost.

JSON on a topic of their own, keyed `channel|region`. Whoever reads them believes one for
`BELIEVED_SECONDS`; a slow channel is announced again before that.
"""

from datetime import datetime
from typing import Annotated

import msgspec

BELIEVED_SECONDS = 180
REPEATED_SECONDS = 60

Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class _ChannelObservation(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    channel: Annotated[str, msgspec.Meta(max_length=64)]
    region: Annotated[str, msgspec.Meta(max_length=6)]
    since: Instant
    observed_at: Instant


class ChannelSlow(_ChannelObservation, frozen=True, kw_only=True, tag=True):
    """The channel confirms late in this region, or leaves many without an outcome."""


class ChannelNormal(_ChannelObservation, frozen=True, kw_only=True, tag=True):
    """It confirms as usual again, or nobody used it for a while."""


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(ChannelSlow | ChannelNormal)


def encode(observation: ChannelSlow | ChannelNormal) -> bytes:
    return _encoder.encode(observation)


def decode(value: bytes | None) -> ChannelSlow | ChannelNormal:
    """Raises msgspec.DecodeError for anything else."""
    found: ChannelSlow | ChannelNormal = _decoder.decode(value or b"")
    return found
