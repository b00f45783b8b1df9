"""What is told of throughput beside a long past."""

import json
from datetime import UTC, datetime
from pathlib import Path

from bench.growth import GrowthResult, GrowthStep, growth_table, write
from bench.result import Machine
from bench.step import Latency, StepResult


def step(settled_rate: float) -> StepResult:
    none = Latency(p50=0, p95=0, p99=0, max=0)
    return StepResult(
        offered_rate=1500,
        steady_seconds=20,
        orders=1000,
        settled_rate=settled_rate,
        latency_ms=none,
        relay_ms=none,
        cpu_us_per_order={"postgres": 300.0, "payment-worker": 100.0},
        generator_late_ms=0,
        drain_seconds=1,
        stolen_share=0.05,
    )


RESULT = GrowthResult(
    commit="abc",
    began_at=datetime(2026, 11, 1, tzinfo=UTC),
    machine=Machine(cpu="some", cores=2, memory_gib=8, system="Linux", python="3.11"),
    steps=[GrowthStep(10_000, step(1000)), GrowthStep(1_000_000, step(750))],
)


def test_the_loss_is_told_against_the_shortest_past() -> None:
    rows = growth_table(RESULT).splitlines()

    assert "| 10,000 | 1,000 | 0% | 400 | 5% |" in rows
    assert "| 1,000,000 | 750 | 25% | 400 | 5% |" in rows


def test_table_and_numbers_are_written(tmp_path: Path) -> None:
    write(RESULT, tmp_path)

    numbers = json.loads((tmp_path / "benchmark-growth.json").read_text())
    assert [each["step"]["settled_rate"] for each in numbers["steps"]] == [1000, 750]
    assert growth_table(RESULT) in (tmp_path / "benchmark-growth.md").read_text()
