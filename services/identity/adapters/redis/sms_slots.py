"""The limits per phone and per client address, in Redis: exact sliding windows, no clear values.

Each SMS is a member of two sorted sets, scored with its time. A limit of n per window is reached
while the n-th newest member is younger than the window, and it says when that ends.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import cast

from redis.asyncio import Redis

from services.identity.adapters.redis.client import answering
from services.identity.application.ports import SmsSlot
from services.identity.domain.refusal import refused
from services.identity.domain.sms_limits import SmsLimits

HOUR_MS = 60 * 60 * 1000
DAY_MS = 24 * HOUR_MS

# Check all limits and count in one step, so that ten requests at once send one SMS. The answer
# names the limit that lasts longest. Redis's own clock: the processes' clocks may differ.
TAKE_SLOT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local longest, reached = 0, 'none'
for i = 3, #ARGV, 4 do
    local key, limit, window = KEYS[tonumber(ARGV[i])], ARGV[i + 1], tonumber(ARGV[i + 2])
    local nth = redis.call('ZRANGE', key, '-' .. limit, '-' .. limit, 'WITHSCORES')
    if nth[2] then
        local wait = tonumber(nth[2]) + window - now
        if wait > longest then longest, reached = wait, ARGV[i + 3] end
    end
end
if longest > 0 then return {reached, math.ceil(longest / 1000)} end
for _, key in ipairs(KEYS) do
    redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now - ARGV[2]))
    redis.call('ZADD', key, string.format('%.0f', now), ARGV[1])
    redis.call('PEXPIRE', key, ARGV[2])
end
return {'none', 0}
"""


class RedisSmsSlots:
    """The port `SmsSlots`; raises Unavailable while Redis does not answer."""

    def __init__(self, redis: Redis, limits: SmsLimits) -> None:
        self._redis = redis
        self._take = redis.register_script(TAKE_SLOT)
        self._resend_ms = _milliseconds(limits.resend_after)
        # (which key, how many, per how long, what the refusal is called)
        self._rules: tuple[tuple[int, int, int, str], ...] = (
            (1, 1, self._resend_ms, "sms_resend_too_soon"),
            (1, limits.per_phone_hourly_max, HOUR_MS, "sms_limit_reached"),
            (1, limits.per_phone_daily_max, DAY_MS, "sms_limit_reached"),
            (2, limits.per_address_hourly_max, HOUR_MS, "sms_address_limit_reached"),
        )

    async def take(self, slot: SmsSlot) -> None:
        arguments = [value for rule in self._rules for value in rule]
        async with answering():
            answer = await self._take(
                keys=_keys(slot), args=[slot.taken_by.bytes, DAY_MS, *arguments]
            )
        reached, wait_seconds = cast("Sequence[bytes | int]", answer)
        if reached != b"none":
            code = cast("bytes", reached).decode()
            raise refused(code, retry_after_seconds=int(wait_seconds))

    async def give_back(self, slot: SmsSlot) -> None:
        async with answering(), self._redis.pipeline(transaction=True) as pipeline:
            for key in _keys(slot):
                pipeline.zrem(key, slot.taken_by.bytes)
            await pipeline.execute()

    async def waive_wait(self, slot: SmsSlot) -> None:
        # Dated back by the wait, it still counts in the hour and the day.
        async with answering():
            await self._redis.zincrby(_keys(slot)[0], -self._resend_ms, slot.taken_by.bytes)


def _keys(slot: SmsSlot) -> list[str]:
    return [
        f"identity:sms-by-phone:{slot.phone_index.hex()}",
        f"identity:sms-by-address:{slot.address_index.hex()}",
    ]


def _milliseconds(duration: timedelta) -> int:
    return int(duration.total_seconds() * 1000)
