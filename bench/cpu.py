"""CPU seconds by process, with everything that a server has started counted to it."""

from collections.abc import Mapping

import psutil

from bench.core_stack import CoreStack

SERVERS = ("postgres", "kafka")


def cpu_seconds(core: CoreStack) -> dict[str, float]:
    """What each worker and server has used since it started.

    A PostgreSQL backend that has ended is counted by its parent, which has waited for it.
    """
    used = {name: _of(psutil.Process(core.pid(name))) for name in core.running()}
    for name in SERVERS:
        process = core.stack.find(name)
        if process is not None:
            used[name] = sum(_of(each) for each in [process, *process.children(recursive=True)])
    return used


def between(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: seconds - before.get(name, 0.0) for name, seconds in after.items()}


def of_process(pid: int) -> float:
    """What one process has used; 0 where it has ended."""
    try:
        return _of(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return 0.0


def _of(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
