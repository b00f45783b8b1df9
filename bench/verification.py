"""How long one callback's verification takes: `python -m bench.verification`.

Signature, freshness, decryption, addressee and shape; no database, no network. The goal is 150 µs.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter_ns

from services.payment.tests.fuzz.campaign import CHANNELS, Target, build_target

VERIFICATIONS = 5_000
WARM_UP = 200


def main() -> int:
    """Prints median and 99th percentile of each channel, in microseconds."""
    with tempfile.TemporaryDirectory() as folder:
        for name in CHANNELS:
            taken = measure(build_target(name, Path(folder)))
            p99 = quantiles(taken, n=100)[98]
            sys.stdout.write(f"{name}: median {median(taken):.0f} µs, p99 {p99:.0f} µs\n")
    return 0


def measure(target: Target, *, count: int = VERIFICATIONS) -> list[float]:
    """Microseconds of each verification of a genuine payment's callback."""
    payment = target.originals[0]
    taken = []
    for _ in range(WARM_UP + count):
        started_at = perf_counter_ns()
        target.channel.verify(payment)
        taken.append((perf_counter_ns() - started_at) / 1_000)
    return taken[WARM_UP:]


if __name__ == "__main__":
    raise SystemExit(main())
