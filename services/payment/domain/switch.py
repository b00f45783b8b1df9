"""The kill switch: which channels take no new payments, and who decided that, when and why."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import msgspec

# Stops new payments through every channel at once.
ALL_CHANNELS = "all"


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a switch; all turns together are its audit."""

    channel: str
    is_stopped: bool
    switched_by: str
    why: str
    switched_at: datetime


@dataclass(frozen=True, slots=True)
class Stopped:
    """The channels that take no new payments at present."""

    channels: Collection[str] = ()

    def __contains__(self, channel: object) -> bool:
        return channel in self.channels or ALL_CHANNELS in self.channels


NONE_STOPPED = Stopped()
