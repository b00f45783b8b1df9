"""How long the relays took, from the buckets that they report."""

from collections import Counter

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from testing.stacks.core_stack import CoreStack

METRIC = "songhe_relay_seconds"
READ_SECONDS = 5.0


def read_counts(core: CoreStack) -> Counter[float]:
    """Upper bound in seconds → events that all running workers sent at most as slowly as that."""
    counts: Counter[float] = Counter()
    for name in core.running():
        page = httpx2.get(f"{core.metrics(name)}/metrics", trust_env=False, timeout=READ_SECONDS)
        for family in text_string_to_metric_families(page.text):
            for sample in family.samples:
                if sample.name == f"{METRIC}_bucket":
                    counts[float(sample.labels["le"])] += int(sample.value)
    return counts


def quantile(counts: Counter[float], share: float) -> float:
    """Seconds within which `share` of the events went out, even inside a bucket; 0 for none.

    Cumulative counts, as Prometheus has them. What lies above the last bound counts as that bound.
    """
    bounds = sorted(counts)
    if not bounds or not counts[bounds[-1]]:
        return 0.0
    rank = share * counts[bounds[-1]]
    below, passed = 0.0, 0
    for bound in bounds:
        if counts[bound] >= rank and counts[bound] > passed:
            if bound == float("inf"):
                return below
            return below + (bound - below) * (rank - passed) / (counts[bound] - passed)
        if bound != float("inf"):
            below, passed = bound, counts[bound]
    return below
