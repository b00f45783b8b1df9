"""Where a process spends its CPU time: stacks, sampled on the CPU clock, one line per stack.

The lines are in the "collapsed" form (`a;b;c 42`) that every flame graph tool reads.
"""

import atexit
import signal
from collections import Counter
from pathlib import Path
from types import FrameType

INTERVAL_SECONDS = 0.002


def sample_to(file: Path) -> None:
    """Sample this process from now on; written when it ends by itself."""
    stacks: Counter[tuple[str, ...]] = Counter()

    def sample(_number: int, frame: FrameType | None) -> None:
        stack: list[str] = []
        while frame is not None:
            code = frame.f_code
            stack.append(f"{Path(code.co_filename).stem}.{code.co_qualname}")
            frame = frame.f_back
        stacks[tuple(reversed(stack))] += 1

    def write() -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        lines = (f"{';'.join(stack)} {count}\n" for stack, count in stacks.most_common())
        file.write_text("".join(lines))

    signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL_SECONDS, INTERVAL_SECONDS)
    atexit.register(write)


def read_stacks(file: Path) -> Counter[tuple[str, ...]]:
    """What `sample_to` wrote."""
    stacks: Counter[tuple[str, ...]] = Counter()
    for line in file.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        stacks[tuple(stack.split(";"))] += int(count)
    return stacks


def by_function(stacks: Counter[tuple[str, ...]], *, inclusive: bool) -> list[tuple[str, float]]:
    """Function → its share of all samples: with what it calls, or by itself."""
    total = sum(stacks.values()) or 1
    counted: Counter[str] = Counter()
    for stack, count in stacks.items():
        for name in set(stack) if inclusive else stack[-1:]:
            counted[name] += count
    return [(name, count / total) for name, count in counted.most_common()]


def profile_table(folder: Path, *, rows: int = 25) -> str:
    """Per process the functions in which most samples lie, with what they call."""
    parts = []
    for file in sorted(folder.glob("*.stacks")):
        shares = by_function(read_stacks(file), inclusive=True)
        lines = [f"  {share:6.1%}  {name}" for name, share in shares[:rows]]
        parts.append("\n".join([f"\n{file.stem}: share of its CPU time", *lines]))
    return "\n".join([*parts, ""])
