"""What is announced of the channels: at each change, every five minutes, and not otherwise."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from services.payment.application.announce_channels import (
    ANNOUNCE_EVERY,
    CHANNEL_LIST_ID,
    ChannelAnnouncer,
)
from services.payment.application.ports import Unit
from services.payment.domain.debit_window import debit_window
from services.payment.tests.building import BANK, CASHIER, OTHER_CASHIER
from services.payment.tests.fake_channel import FakeChannel
from services.payment.tests.world import World, some_clock
from services.payment.wiring.channels import CHANNELS
from shared.kernel.events import CHANNEL_IDS, ChannelOffer, ChannelsChanged, Message
from shared.runtime.database.database import open_database

ALL = {channel.id: channel for channel in (CASHIER, OTHER_CASHIER, BANK)}


@pytest_asyncio.fixture(params=["asyncpg", "psycopg"])
async def world(
    request: pytest.FixtureRequest, service_database: Callable[[str], str]
) -> AsyncIterator[World]:
    """An empty payment, on both drivers."""
    url = service_database("payment").replace("+asyncpg", f"+{request.param}")
    clock = some_clock()
    database = open_database(url, source="payment", pool_size=3, clock=clock)
    world = World(database=database, channel=FakeChannel(clock=clock), clock=clock)
    await world.empty()
    yield world
    await database.close()


def an_announcer(world: World, **changes: Any) -> ChannelAnnouncer:
    fields: dict[str, Any] = {
        "transactions": world.transactions,
        "channels": ALL,
        "configured": frozenset(ALL),
        "default_channel": BANK.id,
        "clock": world.clock,
    }
    return ChannelAnnouncer(**fields | changes)


async def announced(world: World) -> list[Message[ChannelsChanged]]:
    """All that is in the outbox."""
    found = []
    for told in await world.told():
        assert isinstance(told.body, ChannelsChanged)
        found.append(Message(told.envelope, told.body))
    return found


async def newest(world: World) -> dict[str, ChannelOffer]:
    return {offer.id: offer for offer in (await announced(world))[-1].body.channels}


def test_what_is_declared_for_all_services_is_what_payment_runs() -> None:
    assert set(CHANNELS) == set(CHANNEL_IDS)
    assert all(id == channel.id for id, channel in CHANNELS.items())


async def test_the_first_step_announces_every_channel_with_its_facts(world: World) -> None:
    some_regions = replace(BANK, regions=frozenset({"310000", "110000"}), needs_mandate=True)

    await an_announcer(world, channels={**ALL, BANK.id: some_regions}).step()

    [told] = await announced(world)
    assert (told.envelope.subject, told.envelope.sequence) == (CHANNEL_LIST_ID, 1)
    assert told.envelope.time == world.clock.now()
    assert told.body.default_channel == BANK.id
    assert [offer.id for offer in told.body.channels] == list(ALL)
    bank = (await newest(world))[BANK.id]
    assert bank == ChannelOffer(
        id=BANK.id,
        name_zh="银行代扣",
        name_en="Bank direct debit",
        on=True,
        min_amount_fen=1,
        max_amount_fen=10_000_000_000,
        regions=("110000", "310000"),
        needs_mandate=True,
    )
    [row] = await world.rows("SELECT DISTINCT key FROM outbox")
    assert row["key"] == str(CHANNEL_LIST_ID)


async def test_without_a_change_it_is_announced_every_five_minutes(world: World) -> None:
    announcer = an_announcer(world)
    counts = []
    for _ in range(11):
        await announcer.step()
        counts.append(len(await announced(world)))
        world.clock.advance(timedelta(minutes=1))

    assert counts == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3]
    assert [told.envelope.sequence for told in await announced(world)] == [1, 2, 3]


@pytest.mark.parametrize(("switch", "off"), [(BANK.id, {BANK.id}), ("all", set(ALL))])
async def test_a_turned_switch_is_announced_by_the_next_step(
    world: World, switch: str, off: set[str]
) -> None:
    announcer = an_announcer(world)
    await announcer.step()

    await world.turn(switch, is_stopped=True)
    await announcer.step()
    await announcer.step()
    stopped = await newest(world)
    await world.turn(switch, is_stopped=False)
    await announcer.step()

    assert {id for id, offer in stopped.items() if offer.off_because == "stopped"} == off
    assert all(offer.on is (offer.off_because is None) for offer in stopped.values())
    assert all(offer.on for offer in (await newest(world)).values())
    assert len(await announced(world)) == 3


async def test_a_channel_without_an_address_is_announced_as_not_configured(world: World) -> None:
    await world.turn("all", is_stopped=True)

    await an_announcer(world, configured=frozenset({BANK.id})).step()

    assert {id: offer.off_because for id, offer in (await newest(world)).items()} == {
        CASHIER.id: "not_configured",
        OTHER_CASHIER.id: "not_configured",
        BANK.id: "stopped",
    }


async def test_time_that_passes_is_no_change(world: World) -> None:
    window = debit_window(notice=timedelta(days=1), hours="00:00-24:00")
    announcer = an_announcer(world, channels={BANK.id: replace(BANK, debit_window=window)})
    first = world.clock.now()
    for _ in range(3):
        await announcer.step()
        world.clock.advance(timedelta(seconds=2))

    [told] = await announced(world)
    assert told.body.channels[0].charges_from == first + timedelta(days=1)


async def test_workers_at_once_announce_one_change_once(world: World) -> None:
    announcers = [an_announcer(world) for _ in range(8)]
    await asyncio.gather(*(announcer.step() for announcer in announcers))
    await world.turn(BANK.id, is_stopped=True)

    for _ in range(2):
        await asyncio.gather(*(announcer.step() for announcer in announcers))

    assert [told.envelope.sequence for told in await announced(world)] == [1, 2]
    assert not (await newest(world))[BANK.id].on


async def test_other_settings_are_announced_at_the_start_and_then_nobody_quarrels(
    world: World,
) -> None:
    old, new = an_announcer(world), an_announcer(world, default_channel=CASHIER.id)
    for _ in range(20):
        await old.step()
        await new.step()

    assert [told.body.default_channel for told in await announced(world)] == [BANK.id, CASHIER.id]


async def test_what_was_not_committed_is_announced_by_the_next_step(world: World) -> None:
    has_failed = False

    @asynccontextmanager
    async def failing_once() -> AsyncIterator[Unit]:
        nonlocal has_failed
        async with world.transactions() as unit:
            yield unit
            if not has_failed:
                has_failed = True
                raise ConnectionError

    announcer = an_announcer(world, transactions=failing_once)
    with pytest.raises(ConnectionError):
        await announcer.step()
    await announcer.step()

    assert [told.envelope.sequence for told in await announced(world)] == [1]


async def test_a_clock_set_back_does_not_silence_it(world: World) -> None:
    announcer = an_announcer(world)
    await announcer.step()
    world.clock.advance(-2 * ANNOUNCE_EVERY)

    await announcer.step()

    assert len(await announced(world)) == 2
