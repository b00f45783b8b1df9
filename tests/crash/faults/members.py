"""Members of consumer groups die, freeze, come and go while people pay."""

import random
import signal
import time

from tests.crash.run import Field, Scenario
from tests.crash.stacks import WIRE_WORKERS

REPEATED_SECONDS = 60.0
KILL_EVERY_SECONDS = 5.0
# Longer than the session timeout of 10 s: the group has given the partitions to the other member.
FROZEN_SECONDS = 15.0
STORM_SECONDS = 30.0
COME_OR_GO_SECONDS = 2.0
SEED = 20261126
CONSUMERS = ("payment-worker", "billing-worker", "notifier-worker")


def kill_again_and_again(field: Field) -> None:
    """A random service every 5 s for a minute, each started again at once."""
    chance = random.Random(SEED)
    deadline = time.monotonic() + REPEATED_SECONDS
    killed: list[str] = []
    while time.monotonic() < deadline:
        name = chance.choice(WIRE_WORKERS)
        field.stack.kill(name)
        field.stack.launch(name)
        killed.append(name)
        time.sleep(KILL_EVERY_SECONDS)
    for name in WIRE_WORKERS:
        field.stack.wait_until_ready(name)
    field.notes.append(f"{len(killed)} kills, seed {SEED}")


def second_members(field: Field) -> None:
    for name in CONSUMERS:
        field.stack.launch(f"{name}-2")
    for name in CONSUMERS:
        field.stack.wait_until_ready(f"{name}-2")


def freeze(field: Field) -> None:
    """The first members sleep beyond their session and then go on as if nothing had been."""
    for name in CONSUMERS:
        field.stack.signal(name, signal.SIGSTOP)
    try:
        time.sleep(FROZEN_SECONDS)
    finally:
        for name in CONSUMERS:
            field.stack.signal(name, signal.SIGCONT)


def no_second_members(field: Field) -> None:
    for name in CONSUMERS:
        field.stack.stop(f"{name}-2")


def come_and_go(field: Field) -> None:
    """Every 2 s one more member comes, or the one before goes."""
    deadline = time.monotonic() + STORM_SECONDS
    changes = 0
    while time.monotonic() < deadline:
        name = f"{CONSUMERS[changes // 2 % len(CONSUMERS)]}-2"
        if changes % 2 == 0:
            field.stack.launch(name)
        else:
            field.stack.stop(name)
        changes += 1
        time.sleep(COME_OR_GO_SECONDS)
    no_second_members(field)
    field.notes.append(f"{changes} times a member came or went")


MEMBER_SCENARIOS = [
    Scenario(
        name="repeated-kills",
        what="SIGKILL to a random service every 5 s for 60 s",
        fault=kill_again_and_again,
        seconds=80.0,
    ),
    Scenario(
        name="consumer-frozen",
        what="SIGSTOP for 15 s, beyond the session timeout, with a second member active",
        before=second_members,
        fault=freeze,
        after=no_second_members,
        seconds=35.0,
    ),
    Scenario(
        name="members-come-and-go",
        what="a member joins or leaves every 2 s for 30 s",
        fault=come_and_go,
        seconds=45.0,
    ),
]
