"""How fast one core runs Python just now: what no share of stolen time tells.

The host of a virtual machine may clock its cores down, or sell two threads of one core as two
cores, each of which is slow while the other is busy; the guest sees only that everything takes
longer. Beside each rate this number says how much of a difference between two runs is the
machine's, or that of another build of Python.
"""

import time

STEPS = 100_000
TRIES = 10


def core_speed() -> float:
    """Million steps of a fixed Python loop per second, the best of ten tries; takes about 0.1 s."""
    return STEPS / min(_seconds() for _ in range(TRIES)) / 1e6


def _seconds() -> float:
    began = time.perf_counter()
    table: dict[int, int] = {}
    for step in range(STEPS):
        table[step & 255] = table.get(step & 127, 0) + step
    return time.perf_counter() - began
