"""Runs the naive saga on a core stack whose own workers are stopped, and finds its best rate."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg

from bench import cpu
from bench.step import PAID, RECORDED, Void, Window, generating, times
from devstack.plan import ROOT
from devstack.processes import STACK_MARK
from testing.stacks.core_process import BOOK_DIR
from testing.stacks.core_stack import SERVICES, CoreStack

FIRST_RATE = 40.0
RATIO = 1.5
# Below this share of what is offered it is saturated.
HOLDS_SHARE = 0.9
MORE_LANES = 4
READY = b"ready\n"


class NaiveResult(msgspec.Struct, frozen=True, kw_only=True):
    """Orders per second that became complete in the steady window at one offered rate."""

    lanes: int
    offered_rate: float
    settled_rate: float
    cpu_us_per_order: dict[str, float]


def naive_steps(core: CoreStack, window: Window, *, steps_max: int) -> list[NaiveResult]:
    """Up to its saturation, one event at a time; there also with several at a time."""
    steps = [_measure(core, 1, FIRST_RATE, window)]
    while len(steps) < steps_max and _holds(steps[-1]):
        steps.append(_measure(core, 1, steps[-1].offered_rate * RATIO, window))
    return [*steps, _measure(core, MORE_LANES, steps[-1].offered_rate, window)]


def _holds(step: NaiveResult) -> bool:
    return step.settled_rate >= HOLDS_SHARE * step.offered_rate


def _measure(core: CoreStack, lanes: int, rate: float, window: Window) -> NaiveResult:
    file = core.stack.state_dir / "history-naive.json"
    with generating(core, rate, window, file) as generator, _services(core, lanes) as pids:
        before = _used(core, pids)
        began_at = datetime.now(UTC)
        generator.start()
        generator.wait()
        used = cpu.between(before, _used(core, pids))
    begin = began_at + timedelta(seconds=window.warm_up_seconds)
    end = begin + timedelta(seconds=window.steady_seconds)
    paid = times(core.databases["billing"], PAID, began_at)
    recorded = times(core.databases["notifier"], RECORDED, began_at)
    complete = [max(paid[order], recorded[order]) for order in paid.keys() & recorded.keys()]
    inside = sum(begin <= at < end for at in complete)
    if not inside:
        raise Void("the naive saga settled nothing")
    return NaiveResult(
        lanes=lanes,
        offered_rate=rate,
        settled_rate=inside / window.steady_seconds,
        cpu_us_per_order={name: s * 1e6 / len(complete) for name, s in sorted(used.items())},
    )


def _forget_unsent(core: CoreStack) -> None:
    """Assessments, and what a killed saga left, must not be part of the load."""
    for service in ("billing", "payment"):
        with psycopg.connect(core.databases[service]) as connection:
            connection.execute("DELETE FROM outbox_queue")


def _used(core: CoreStack, pids: dict[str, int]) -> dict[str, float]:
    return cpu.cpu_seconds(core) | {name: cpu.of_process(pid) for name, pid in pids.items()}


@contextmanager
def _services(core: CoreStack, lanes: int) -> Iterator[dict[str, int]]:
    _forget_unsent(core)
    with ExitStack() as stack:
        started = {name: stack.enter_context(_service(core, name, lanes)) for name in SERVICES}
        for name, process in started.items():
            assert process.stdout is not None
            if process.stdout.readline() != READY:
                raise Void(f"the naive {name} did not start")
        yield {f"naive-{name}": process.pid for name, process in started.items()}


@contextmanager
def _service(core: CoreStack, name: str, lanes: int) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **core.stack.environment_for(name, "worker"),
        BOOK_DIR: str(core.stack.state_dir / "book-naive"),
        STACK_MARK: str(core.stack.state_dir),
    }
    command: Sequence[str] = [sys.executable, "-m", "bench.peers.naive", name]
    command = [*command, "--lanes", str(lanes)]
    with (
        core.log(f"naive-{name}").open("ab") as log,
        subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=log
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()
