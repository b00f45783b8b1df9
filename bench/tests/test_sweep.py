"""The search for the highest rate, over steps that are made up."""

import math
from dataclasses import dataclass

import pytest

from bench.step import Latency
from bench.sweep import Sweep, confirm, sweep


@dataclass(frozen=True, slots=True)
class Step:
    offered_rate: float
    latency_ms: Latency


def latency(p99: float) -> Latency:
    return Latency(p50=p99 / 2, p95=p99, p99=p99, max=p99)


def test_the_highest_rate_that_holds_is_found() -> None:
    found = sweep(
        lambda rate: Step(rate, latency(rate)),
        first_rate=640,
        p99_ms=1000,
        strict_p99_ms=700,
        steps_max=20,
    )

    best, strict = found.best(1000), found.best(700)
    assert best is not None
    assert best.offered_rate == 640 * 1.25 * math.sqrt(1.25)
    assert strict is not None
    assert strict.offered_rate == 640


def test_a_near_miss_is_tried_once_more_and_a_wide_one_is_not() -> None:
    tries: list[float] = []

    def run(rate: float) -> Step:
        tries.append(rate)
        is_disturbed = rate == 800 and tries.count(rate) == 1
        return Step(rate, latency(1500 if is_disturbed else rate if rate < 900 else 5000))

    found = sweep(run, first_rate=640, p99_ms=1000, strict_p99_ms=700, steps_max=20)

    best = found.best(1000)
    assert best is not None
    assert best.offered_rate == pytest.approx(800 * math.sqrt(1.25))
    assert tries == [640, 800, 800, 1000, best.offered_rate]


def test_a_rate_counts_only_if_it_holds_for_longer_too() -> None:
    found = Sweep([Step(rate, latency(rate)) for rate in (600, 750, 900)])

    longer, gentle = confirm(
        found, lambda rate: Step(rate, latency(1200 if rate == 900 else rate)), p99_ms=1000
    )

    assert longer is not None
    assert longer.offered_rate == 750
    assert gentle is not None
    assert gentle.offered_rate == 0.7 * 750
