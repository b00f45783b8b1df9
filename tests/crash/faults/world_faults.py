"""The outside world is dark, clocks are wrong, and more comes in than can be done."""

import time

from testing.checker import until_at_rest
from tests.crash.load import CoreLoad
from tests.crash.run import Act, Field, Mode, Scenario

BLACK_OUT_SECONDS = 60.0
HOUR_SECONDS = 3600
SHIFTED_SECONDS = 15.0
OVERLOAD_SECONDS = 60.0
OVERLOAD = 1.5
# Requested at once to see how fast the system works when nothing holds it up.
BURST = 4000
OVERLOAD_REST_SECONDS = 120.0
# The longest pause between two queries of the first minutes, and the deadline.
BLACK_OUT_DEADLINE_SECONDS = 120.0


def black_out(field: Field) -> None:
    """SIGKILL to the sandbox: neither channel nor SMS gateway is there for a minute."""
    field.stack.stack.kill("sandbox")
    time.sleep(BLACK_OUT_SECONDS)
    field.stack.stack.start("sandbox")


def shift_clock(service: str, seconds: int) -> Act:
    """One worker believes in another time for a while, under load."""

    def act(field: Field) -> None:
        name = f"{service}-worker"
        argv = ["-m", "tests.crash.faults.shifted_clock", str(seconds)]
        field.stack.stop(name)
        field.stack.launch(name, argv=[*argv, "testing.stacks.core_process", service, "worker"])
        field.stack.wait_until_ready(name)
        time.sleep(SHIFTED_SECONDS)
        field.stack.stop(name)
        field.stack.launch(name)
        field.stack.wait_until_ready(name)

    return act


class Overload:
    """1.5 times what the system can do, for a minute, beside the load that goes on."""

    def __init__(self) -> None:
        self._more: CoreLoad | None = None

    def before(self, field: Field) -> None:
        """Measure what can be done, and assess what will be too much."""
        burst = CoreLoad(field.stack, rate=BURST / 2, seconds=2)
        burst.prepare()
        _until_at_rest(field)
        began = time.monotonic()
        burst.start()
        burst.finish()
        _until_at_rest(field)
        capacity = burst.count / (time.monotonic() - began)
        rate = OVERLOAD * capacity
        field.notes.append(f"capacity {capacity:.0f}/s, offered {rate:.0f}/s")
        self._more = CoreLoad(field.stack, rate=rate - field.load.rate, seconds=OVERLOAD_SECONDS)
        self._more.prepare()
        _until_at_rest(field)
        field.load.acknowledged |= burst.acknowledged

    def fault(self, field: Field) -> None:
        assert self._more is not None
        self._more.start()
        self._more.finish()

    def after(self, field: Field) -> None:
        assert self._more is not None
        field.load.acknowledged |= self._more.acknowledged


def _until_at_rest(field: Field) -> None:
    until_at_rest(field.stack.databases, field.stack.kafka, within_seconds=OVERLOAD_REST_SECONDS)


_overload = Overload()

WORLD_SCENARIOS = [
    Scenario(
        name="sandbox-black-out",
        what="channel and SMS gateway are gone for 60 s",
        mode=Mode.WIRE,
        rate=20.0,
        seconds=130.0,
        fault=black_out,
        deadline_seconds=BLACK_OUT_DEADLINE_SECONDS,
    ),
    Scenario(
        name="clock-ahead",
        what="billing's clock is an hour ahead for 15 s",
        fault=shift_clock("billing", HOUR_SECONDS),
        seconds=35.0,
    ),
    Scenario(
        name="clock-behind",
        what="payment's clock is an hour behind for 15 s",
        fault=shift_clock("payment", -HOUR_SECONDS),
        seconds=35.0,
    ),
    Scenario(
        name="overload",
        what="1.5 times what the system can do, for 60 s",
        before=_overload.before,
        fault=_overload.fault,
        after=_overload.after,
        rate=100.0,
        seconds=100.0,
        is_alone=True,
    ),
]
