"""The command line: every failure is one sentence, exit code 1, or 2 for settings and downloads."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import psutil

from devstack.plan import NAMES
from devstack.problems import DevstackError
from devstack.report import Report
from devstack.stack import Stack

FOLLOW_SECONDS = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    stack = Stack(options.state_dir, report=Report())
    try:
        command = {"up": _up, "down": _down, "status": _status, "logs": _logs, "restart": _restart}
        return command[options.command](stack, options)
    except DevstackError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"{error.strerror or error}: {error.filename or stack.state_dir}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--state-dir", type=Path, help="folder of the stack (SONGHE_STATE_DIR, default .songhe)"
    )
    parser = argparse.ArgumentParser(prog="python -m devstack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", parents=[common], help="start everything that does not run")
    up.add_argument(
        "--only", type=lambda words: words.split(","), help="infra, services or process names"
    )
    down = commands.add_parser("down", parents=[common], help="stop every process")
    down.add_argument("--delete", action="store_true", help="remove data, keys and logs too")
    status = commands.add_parser("status", parents=[common], help="what runs, and where")
    status.add_argument("--json", action="store_true")
    logs = commands.add_parser("logs", parents=[common], help="the last lines of the logs")
    logs.add_argument("names", nargs="*", metavar="name")
    logs.add_argument("-f", "--follow", action="store_true")
    logs.add_argument("-n", "--lines", type=int, default=20)
    restart = commands.add_parser("restart", parents=[common], help="stop and start processes")
    restart.add_argument("names", nargs="+", metavar="name", choices=NAMES)
    return parser


def _up(stack: Stack, options: argparse.Namespace) -> int:
    if not stack.up(only=options.only):
        sys.stdout.write(f"Everything runs already ({stack.state_dir}).\n")
    if options.only is None:
        sys.stdout.write(f"\n  entry  {stack.urls['entry']}\n")
    return 0


def _down(stack: Stack, options: argparse.Namespace) -> int:
    stack.down(delete=options.delete)
    sys.stdout.write("No process of this stack is left.\n")
    return 0


def _restart(stack: Stack, options: argparse.Namespace) -> int:
    for name in options.names:
        stack.restart(name)
    return 0


def _status(stack: Stack, options: argparse.Namespace) -> int:
    states = stack.states()
    found = {name: stack.find(name) for name in states}
    if options.json:
        document = {
            "urls": stack.urls,
            "metrics": stack.metrics,
            "databases": stack.databases,
            "processes": {
                name: {"pid": process.pid if process else None, "state": states[name]}
                for name, process in found.items()
            },
            "state_dir": str(stack.state_dir),
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return 0
    places = {**stack.metrics, **stack.urls}
    places |= {name: stack.urls[name.removesuffix("-api")] for name in states if "-api" in name}
    sys.stdout.write(f"{'process':<16} {'state':<9} {'pid':>7} {'up for':>8} {'memory':>8}  at\n")
    for name, process in found.items():
        row = (name, states[name], *_figures(process), places[name])
        sys.stdout.write("{:<16} {:<9} {:>7} {:>8} {:>8}  {}\n".format(*row))
    sys.stdout.write(f"\nstate folder {stack.state_dir}\n")
    return 0


def _figures(process: psutil.Process | None) -> tuple[str, str, str]:
    """Process id, time since start and memory (with children, shared pages counted once)."""
    if process is None:
        return "-", "-", "-"
    seconds = int(time.time() - process.create_time())
    try:
        family = [process, *process.children(recursive=True)]
        used = sum(member.memory_full_info().pss for member in family)
    except (psutil.Error, AttributeError):
        return str(process.pid), f"{seconds} s", "-"
    return str(process.pid), f"{seconds} s", f"{used // 2**20} MiB"


def _logs(stack: Stack, options: argparse.Namespace) -> int:
    folder = stack.log("x").parent
    names = options.names or sorted(path.stem for path in folder.glob("*.log"))
    for name in names:
        if not stack.log(name).exists():
            raise DevstackError(f"There is no log of {name!r} in {folder}.")
    width = max((len(name) for name in names), default=0)
    streams = {name: stack.log(name).open(errors="replace") for name in names}
    try:
        for name, stream in streams.items():
            for line in stream.readlines()[-options.lines :]:
                sys.stdout.write(f"{name:<{width}} | {line.rstrip()}\n")
        while options.follow:
            if not sum(_copy_new(name, stream, width) for name, stream in streams.items()):
                time.sleep(FOLLOW_SECONDS)
    finally:
        for stream in streams.values():
            stream.close()
    return 0


def _copy_new(name: str, stream: IO[str], width: int) -> int:
    lines = stream.readlines()
    for line in lines:
        sys.stdout.write(f"{name:<{width}} | {line.rstrip()}\n")
    sys.stdout.flush()
    return len(lines)
