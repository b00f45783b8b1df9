"""Documents from code: `python -m documents` writes them, `--check` only compares."""

import argparse
import sys

from documents.generate import differences, write


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m documents", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    if not parser.parse_args(arguments).check:
        write()
        return 0
    found = differences()
    for entry in found:
        sys.stdout.write(f"{entry}\n")
    if found:
        sys.stdout.write("Run `make docs` and commit what it changes.\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
