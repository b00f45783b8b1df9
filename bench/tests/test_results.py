"""How the benchmark searches, and what it tells."""

import xml.etree.ElementTree as ET
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from bench.peers.run_naive import NaiveResult
from bench.picture import latency_picture
from bench.result import Machine, Result
from bench.step import Latency, StepResult, Void, latency_ms
from bench.sweep import sweep
from bench.table import table
from bench.yardstick import core_speed


def step(rate: float, p99_ms: float) -> StepResult:
    return StepResult(
        offered_rate=rate,
        steady_seconds=10,
        orders=round(rate * 10),
        settled_rate=rate,
        latency_ms=Latency(p50=p99_ms / 2, p95=p99_ms, p99=p99_ms, max=p99_ms * 2),
        relay_ms=Latency(p50=5, p95=6, p99=7, max=8),
        cpu_us_per_order={"postgres": 300.0, "payment-worker": 100.0},
        generator_late_ms=1,
        drain_seconds=1,
    )


def machine_that_holds(limit: float) -> Callable[[float], StepResult]:
    return lambda rate: step(rate, 100.0 if rate < limit / 2 else 500.0 if rate < limit else 5000.0)


@pytest.mark.parametrize("first_rate", [50.0, 400.0, 3000.0])
def test_sweep_finds_both_limits_wherever_it_begins(first_rate: float) -> None:
    found = sweep(
        machine_that_holds(1000.0),
        first_rate=first_rate,
        p99_ms=1000.0,
        strict_p99_ms=250.0,
        steps_max=30,
    )

    loose, strict = found.best(1000.0), found.best(250.0)

    assert loose is not None
    assert strict is not None
    assert 640 <= loose.offered_rate < 1000
    assert 320 <= strict.offered_rate < 500


def test_a_rate_above_a_missed_one_does_not_count() -> None:
    found = sweep(
        lambda rate: step(rate, 100.0 if rate <= 100 else 2000.0),
        first_rate=100.0,
        p99_ms=1000.0,
        strict_p99_ms=250.0,
        steps_max=5,
    )

    best = found.best(1000.0)
    assert best is not None
    assert best.offered_rate == 100.0


def test_percentiles_are_of_the_given_orders() -> None:
    latency = latency_ms([n / 1000 for n in range(1, 101)])

    assert (latency.p50, latency.p99, latency.max) == (51.0, 100.0, 100.0)
    with pytest.raises(Void):
        latency_ms([])


def test_picture_is_well_formed_and_shows_every_step() -> None:
    picture = latency_picture([step(100, 50), step(200, 20_000)], title="Latency")

    circles = [each for each in ET.fromstring(picture).iter() if each.tag.endswith("circle")]

    assert len(circles) == 4


def test_table_tells_ratios_and_whether_the_run_counts() -> None:
    told = table(result(violations=["an order is lost"]))

    assert "| ÷ pgbench | 0.50 | 0.3 | 0.6 |" in told
    assert "| ÷ naive | 10.0 | 8 | 20 |" in told
    assert "VOID: an order is lost" in told


def test_each_rate_stands_beside_how_fast_a_core_was() -> None:
    measured = replace(step(1000, 500), core_speed=round(core_speed(), 1))

    told = table(result(steps=[measured]))

    assert measured.core_speed > 0
    assert f"| 0% | {measured.core_speed:.1f} | p99 < 1 s |" in told


def result(**fields: object) -> Result:
    best = step(1000, 500)
    values: dict[str, object] = {
        "commit": "abc",
        "began_at": datetime(2026, 11, 26, tzinfo=UTC),
        "seconds": 600.0,
        "quick": False,
        "machine": Machine(cpu="x", cores=2, memory_gib=8, system="Linux", python="3.11"),
        "durable": {"acks": "all"},
        "pgbench_tps": [1500.0, 2000.0],
        "steps": [step(500, 100), best],
        "sustained": best,
        "strict": step(500, 100),
        "at_70_percent": step(700, 200),
        "naive": [NaiveResult(lanes=1, offered_rate=150, settled_rate=100, cpu_us_per_order={})],
        "orders_checked": 15_000,
        "violations": [],
    }
    return Result(**values | fields)  # type: ignore[arg-type]  # keywords of a builder
