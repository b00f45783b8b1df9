"""CPU seconds by process, with everything that a server has started counted to it."""

import time
from collections.abc import Mapping

import psutil

from testing.stacks.core_stack import CoreStack

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


class Theft:
    """How much the host of a virtual machine took from its cores since this was made."""

    def __init__(self) -> None:
        self._began_at = time.monotonic()
        self._before = _stolen_seconds()

    def share(self) -> float:
        """Of all cores' time, 0 to 1; 0 where the system does not tell."""
        passed = (time.monotonic() - self._began_at) * (psutil.cpu_count() or 1)
        return (_stolen_seconds() - self._before) / passed


def _stolen_seconds() -> float:
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def _of(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
