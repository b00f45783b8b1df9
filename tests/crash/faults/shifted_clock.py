"""A process whose clock is wrong: `… shifted_clock <seconds> <module> …`.

The clock of the machine is right; only what this process believes is shifted.
"""

import runpy
import sys
from datetime import datetime, timedelta

from shared.kernel.clock import SystemClock


def main(arguments: list[str]) -> None:
    shift, module = timedelta(seconds=float(arguments[0])), arguments[1]
    right = SystemClock.now

    def shifted(self: SystemClock) -> datetime:
        return right(self) + shift

    SystemClock.now = shifted  # type: ignore[method-assign]
    sys.argv = [module, *arguments[2:]]
    runpy.run_module(module, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
