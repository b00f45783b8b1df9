"""`make fuzz`: a million mutated callbacks over all processors, with progress.

Exit code 1 where one was accepted that differs from its original, or was not answered at all.
Interrupted, it tells what it has verified until then.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from services.payment.tests.fuzz.campaign import CHANNELS, Tally, Target, build_target, run

CASES = 1_000_000
CHUNK = 2_500

_targets: dict[str, Target] = {}


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    channels = (options.channel,) if options.channel else CHANNELS
    total, started_at = {name: Tally() for name in channels}, time.monotonic()
    with tempfile.TemporaryDirectory() as folder, _pool(options.processes, Path(folder)) as pool:
        jobs = {
            pool.submit(_run, name, options.seed, first, count): name
            for first, count in _chunks(options.first, options.cases // len(channels))
            for name in channels
        }
        try:
            for job in as_completed(jobs):
                total[jobs[job]].add(job.result())
                _show(total, options.cases, started_at)
        except KeyboardInterrupt:
            # What was verified so far is still worth telling.
            pool.shutdown(wait=False, cancel_futures=True)
    sys.stderr.write("\n")
    for name, tally in total.items():
        _report(name, tally, options.seed)
    return 1 if any(tally.forged or tally.broken for tally in total.values()) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=CASES, help="over both channels")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="index of the first case")
    parser.add_argument("--channel", choices=CHANNELS)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    return parser


def _pool(processes: int, folder: Path) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, initializer=_build, initargs=(folder,))


def _build(folder: Path) -> None:
    # Each process makes keys of its own; a case is what is done to a callback, not its bytes.
    own = folder / str(os.getpid())
    _targets.update({name: build_target(name, own) for name in CHANNELS})


def _run(name: str, seed: int, first: int, count: int) -> Tally:
    return run(_targets[name], name, seed=seed, first=first, count=count)


def _chunks(first: int, count: int) -> Iterator[tuple[int, int]]:
    for start in range(first, first + count, CHUNK):
        yield start, min(CHUNK, first + count - start)


def _show(total: dict[str, Tally], cases: int, started_at: float) -> None:
    done = sum(tally.case_count for tally in total.values())
    rate = done / (time.monotonic() - started_at)
    sys.stderr.write(f"\r{done:,} of {cases:,} callbacks, {rate:,.0f}/s ")
    sys.stderr.flush()


def _report(name: str, tally: Tally, seed: int) -> None:
    sys.stdout.write(
        f"{name}: {tally.case_count:,} callbacks, {len(tally.forged)} accepted that differ,"
        f" {len(tally.broken)} not answered, {tally.accepted_count:,} accepted as the original\n"
    )
    for reason, count in tally.refused.most_common():
        sys.stdout.write(f"  refused as {reason:<16} {count:>9,}\n")
    for index in sorted(tally.forged + tally.broken)[:10]:
        again = f"--channel {name} --seed {seed} --first {index} --cases 1 --processes 1"
        sys.stdout.write(f"  again: python -m services.payment.tests.fuzz {again}\n")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
