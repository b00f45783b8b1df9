"""Codes that wait, in Redis: HMACs, sealed phones and blind indexes, all gone after five minutes.

A phone has one key per purpose, so keeping a new code voids the one before. Redis is one server
or a primary with replicas, not a cluster.
"""

from typing import cast
from uuid import UUID

from redis.asyncio import Redis

from services.identity.adapters.redis.client import answering
from services.identity.application.ports import (
    CodeGone,
    CodeRight,
    CodeVerdict,
    CodeWrong,
    PendingCode,
)
from services.identity.domain.one_time_code import (
    CODE_LIFETIME,
    CODE_TRIES_MAX,
    CodeRequest,
    Purpose,
)

# One script counts, compares and deletes: of two right answers at once, one finds the code gone.
# What is compared are HMACs under a key that the asker lacks, so its time tells nothing.
TRY_CODE = """
if redis.call('HGET', KEYS[1], 'request') ~= ARGV[1] then return {'gone'} end
local tries = redis.call('HINCRBY', KEYS[1], 'tries', 1)
if redis.call('HGET', KEYS[1], 'mac') == ARGV[2] then
    local phone = redis.call('HGET', KEYS[1], 'phone')
    redis.call('DEL', KEYS[1])
    return {'right', phone}
end
local left = tonumber(ARGV[3]) - tries
if left <= 0 then redis.call('DEL', KEYS[1]) end
return {'wrong', left}
"""
DROP_CODE = """
if redis.call('HGET', KEYS[1], 'request') == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""
# redis-py's own wording of what a field or a value may be.
_Field = bytes | bytearray | memoryview | str | int | float
LIFETIME_MS = int(CODE_LIFETIME.total_seconds() * 1000)


class RedisCodes:
    """The port `Codes`; raises Unavailable while Redis does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        # Called by hash; redis-py loads the script again where Redis has lost it.
        self._try_code = redis.register_script(TRY_CODE)
        self._drop_code = redis.register_script(DROP_CODE)

    async def keep(self, code: PendingCode) -> None:
        key = _code_key(code.request)
        fields: dict[_Field, _Field] = {
            "request": code.request.request_id.bytes,
            "mac": code.mac,
            "phone": code.phone_sealed,
            "tries": 0,
        }
        async with answering(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.delete(key)
            pipeline.hset(key, mapping=fields)
            pipeline.pexpire(key, LIFETIME_MS)
            pipeline.set(
                _request_key(code.request.request_id, code.request.purpose),
                code.request.phone_index,
                px=LIFETIME_MS,
            )
            await pipeline.execute()

    async def find(self, request_id: UUID, purpose: Purpose) -> CodeRequest | None:
        async with answering():
            phone_index = await self._redis.get(_request_key(request_id, purpose))
        if phone_index is None:
            return None
        return CodeRequest(request_id, purpose, cast("bytes", phone_index))

    async def try_code(self, request: CodeRequest, mac: bytes) -> CodeVerdict:
        async with answering():
            answer = await self._try_code(
                keys=[_code_key(request)], args=[request.request_id.bytes, mac, CODE_TRIES_MAX]
            )
        match cast("list[bytes | int]", answer):
            case [b"right", bytes(phone_sealed)]:
                return CodeRight(phone_sealed)
            case [b"wrong", int(tries_left)]:
                return CodeWrong(tries_left)
            case _:
                return CodeGone()

    async def drop(self, request: CodeRequest) -> None:
        async with answering():
            await self._drop_code(keys=[_code_key(request)], args=[request.request_id.bytes])


def _code_key(request: CodeRequest) -> str:
    return f"identity:code:{request.purpose}:{request.phone_index.hex()}"


def _request_key(request_id: UUID, purpose: Purpose) -> str:
    return f"identity:code-request:{purpose}:{request_id}"
