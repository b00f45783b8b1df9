"""The search for the highest rate: up in equal ratios until one is missed, then between."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from bench.step import Latency

RATIO = 1.25
# A miss by less than this is measured once more: a neighbour on the same host, a checkpoint.
NEAR_MISS = 2.0
GENTLE_SHARE = 0.7
LOWEST_RATE = 20.0


class Step(Protocol):
    """What a rate gave, as far as the search looks at it."""

    @property
    def offered_rate(self) -> float: ...
    @property
    def latency_ms(self) -> Latency: ...


Found = TypeVar("Found", bound=Step)


@dataclass(frozen=True, slots=True)
class Sweep(Generic[Found]):
    """All steps, in ascending order of their rate."""

    steps: list[Found]

    def best(self, p99_ms: float) -> Found | None:
        """The highest rate that was settled with p99 below the limit, as were all below it."""
        best = None
        for step in self.steps:
            if not holds(step, p99_ms):
                break
            best = step
        return best


def holds(step: Step, p99_ms: float) -> bool:
    return step.latency_ms.p99 < p99_ms


def sweep(
    run: Callable[[float], Found],
    *,
    first_rate: float,
    p99_ms: float,
    strict_p99_ms: float,
    steps_max: int,
) -> Sweep[Found]:
    """Go up while `p99_ms` holds, then down until `strict_p99_ms` held once, then half-way up.

    A rate that nearly held is tried a second time, and its better try counts.
    """

    def tried(rate: float) -> Found:
        step = run(rate)
        if p99_ms <= step.latency_ms.p99 < NEAR_MISS * p99_ms:
            return min(step, run(rate), key=lambda each: each.latency_ms.p99)
        return step

    steps = [tried(first_rate)]
    while len(steps) < steps_max and holds(steps[-1], p99_ms):
        steps.append(tried(steps[-1].offered_rate * RATIO))
    while len(steps) < steps_max and not holds(steps[0], strict_p99_ms):
        if steps[0].offered_rate < LOWEST_RATE:
            break
        # Far above the limit, small steps down would only take time.
        ratio = RATIO if holds(steps[0], p99_ms) else RATIO**2
        steps.insert(0, tried(steps[0].offered_rate / ratio))
    missed = next((place for place, step in enumerate(steps) if not holds(step, p99_ms)), 0)
    if missed:
        between = math.sqrt(steps[missed - 1].offered_rate * steps[missed].offered_rate)
        steps.insert(missed, tried(between))
    return Sweep(steps)


def confirm(
    found: Sweep[Found], run_longer: Callable[[float], Found], *, p99_ms: float
) -> tuple[Found | None, Found | None]:
    """The best rate must hold for longer too, or the next lower one counts; then 70 % of it."""
    for step in reversed([step for step in found.steps if holds(step, p99_ms)]):
        longer = run_longer(step.offered_rate)
        if holds(longer, p99_ms):
            return longer, run_longer(step.offered_rate * GENTLE_SHARE)
    return None, None
