"""A channel that fails again and again is spared, and found again by one call at a time."""

import asyncio
from collections.abc import Callable

import httpx2
import pytest

from services.payment.adapters.channels.circuit import FAILURES_MAX, OPEN_SECONDS, Circuit
from services.payment.adapters.channels.http import ChannelHttp, Reply
from services.payment.domain.channel_answer import Unknown, UnknownCause
from shared.runtime.ground.metrics import REGISTRY


class Channel:
    """A channel that can be broken, and how often it was called."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.call_count = 0
        self.answer: Callable[[], httpx2.Response] = lambda: httpx2.Response(200)
        client = httpx2.AsyncClient(transport=httpx2.MockTransport(self._hear), trust_env=False)
        self.http = ChannelHttp(
            client,
            channel="circuit-test",
            timeout_seconds=0.05,
            circuit=Circuit("circuit-test", now=lambda: self.now),
        )

    def _hear(self, _: httpx2.Request) -> httpx2.Response:
        self.call_count += 1
        return self.answer()

    async def call(self) -> Reply | Unknown:
        return await self.http.call("GET", "https://channel.test/", headers={})

    async def break_down(self) -> None:
        self.answer = refuse
        for _ in range(FAILURES_MAX):
            await self.call()
        self.call_count = 0


def refuse() -> httpx2.Response:
    raise httpx2.ConnectError("refused")


async def test_failures_in_a_row_open_the_circuit_and_calls_are_spared() -> None:
    channel = Channel()
    await channel.break_down()

    assert await channel.call() == Unknown(UnknownCause.CONNECTION)
    assert channel.call_count == 0
    assert not channel.http.is_usable
    assert REGISTRY.get_sample_value("songhe_channel_circuit_open", {"channel": "circuit-test"})


async def test_one_success_between_failures_keeps_it_closed() -> None:
    channel = Channel()
    for broken in (refuse, lambda: httpx2.Response(404)) * FAILURES_MAX:
        channel.answer = broken
        await channel.call()

    assert channel.http.is_usable
    assert channel.call_count == 2 * FAILURES_MAX


async def test_after_a_while_one_call_finds_the_channel_again() -> None:
    channel = Channel()
    await channel.break_down()
    channel.now += OPEN_SECONDS
    channel.answer = lambda: httpx2.Response(200)

    assert channel.http.is_usable
    assert isinstance(await channel.call(), Reply)
    assert isinstance(await channel.call(), Reply)
    assert channel.call_count == 2


async def test_a_failed_trial_opens_it_again() -> None:
    channel = Channel()
    await channel.break_down()
    channel.now += OPEN_SECONDS

    await channel.call()
    await channel.call()

    assert channel.call_count == 1
    assert not channel.http.is_usable


async def test_only_one_call_tries_at_a_time() -> None:
    circuit = Circuit("circuit-test", now=lambda: 0.0)
    for _ in range(FAILURES_MAX):
        with circuit.call():
            pass
    circuit._open_until = 0.0

    with circuit.call() as trying, circuit.call() as second:
        assert trying is not None
        assert second is None
        trying.succeeded = True
    with circuit.call() as third:
        assert third is not None


async def test_a_trial_that_is_cancelled_does_not_block_the_next() -> None:
    channel = Channel()
    await channel.break_down()
    channel.now += OPEN_SECONDS
    with pytest.raises(asyncio.CancelledError), channel.http._circuit.call():
        raise asyncio.CancelledError
    channel.now += OPEN_SECONDS

    await channel.call()

    assert channel.call_count == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_errors_of_the_channel_count_as_failures(status: int) -> None:
    channel = Channel()
    channel.answer = lambda: httpx2.Response(status)

    answers = [await channel.call() for _ in range(FAILURES_MAX)]

    assert answers == [Unknown(UnknownCause.SERVER_ERROR)] * FAILURES_MAX
    assert not channel.http.is_usable


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (httpx2.ReadTimeout("slow"), UnknownCause.TIMEOUT),
        (httpx2.PoolTimeout("busy"), UnknownCause.TIMEOUT),
        (TimeoutError(), UnknownCause.TIMEOUT),
        (httpx2.RemoteProtocolError("cut"), UnknownCause.CONNECTION),
        (httpx2.DecodingError("gzip"), UnknownCause.CONNECTION),
        (OSError("reset"), UnknownCause.CONNECTION),
    ],
)
async def test_a_broken_call_is_unknown(error: Exception, cause: UnknownCause) -> None:
    channel = Channel()

    def fail() -> httpx2.Response:
        raise error

    channel.answer = fail

    assert await channel.call() == Unknown(cause)


async def test_an_answer_that_drips_is_cut_off() -> None:
    class Dripping(httpx2.AsyncByteStream):
        async def __aiter__(self):  # type: ignore[no-untyped-def]  # the base has no type either
            while True:
                await asyncio.sleep(0.01)
                yield b" "

    channel = Channel()
    channel.answer = lambda: httpx2.Response(200, stream=Dripping())

    assert await channel.call() == Unknown(UnknownCause.TIMEOUT)


async def test_an_answer_without_end_is_given_up_at_its_size() -> None:
    class Endless(httpx2.AsyncByteStream):
        chunk_count = 0

        async def __aiter__(self):  # type: ignore[no-untyped-def]  # the base has no type either
            for _ in range(1_000):
                self.chunk_count += 1
                yield b" " * 16_384

    channel, stream = Channel(), Endless()
    channel.answer = lambda: httpx2.Response(200, stream=stream)

    assert await channel.call() == Unknown(UnknownCause.NONSENSE)
    assert stream.chunk_count == 5
