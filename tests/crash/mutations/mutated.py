"""One process with one breakage: `… mutated <service> <process> --mutation x`.

Patches, then starts the service in core mode, or as it is with `--wire`. With `--marks file`,
every process that passed the broken line leaves its id there.
"""

import argparse
import os
import runpy
import sys

from tests.crash.mutations.table import BY_NAME, apply


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.mutations.mutated")
    parser.add_argument("service", choices=("billing", "payment", "notifier"))
    parser.add_argument("process")
    parser.add_argument("--mutation", required=True, choices=sorted(BY_NAME))
    parser.add_argument("--marks", default=os.devnull)
    parser.add_argument("--wire", action="store_true")
    options = parser.parse_args(arguments)
    apply(options.mutation, options.marks)
    if options.wire:
        module, words = f"services.{options.service}", [options.process]
    else:
        module, words = "testing.stacks.core_process", [options.service, options.process]
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
