"""What a run writes is complete wherever it is written."""

from pathlib import Path

import msgspec

from bench.__main__ import write
from bench.result import Result
from bench.tests.test_results import result


def test_a_run_writes_table_numbers_and_picture(tmp_path: Path) -> None:
    run = result()

    write(run, tmp_path)

    told = (tmp_path / "benchmark-results.md").read_text()
    assert "| ÷ pgbench |" in told
    assert "pictures/benchmark-latency.svg" in told
    assert (tmp_path / "pictures" / "benchmark-latency.svg").read_text().startswith("<svg")
    numbers = (tmp_path / "benchmark-results.json").read_bytes()
    assert msgspec.json.decode(numbers, type=Result) == run
