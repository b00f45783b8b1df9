"""The stack's processes as children of the test, which alone learns their exit codes."""

import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from devstack.plan import NAMES, SERVERS
from devstack.processes import STACK_MARK
from devstack.stack import Stack

READY_SECONDS = 60.0
# The longest grace of any of them, and a slow machine.
STOP_SECONDS = 20.0


class OwnProcesses:
    """Runs processes with the stack's settings, ports and logs, instead of the stack's own."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, names: Sequence[str]) -> None:
        """Start them side by side and wait until all are ready. Blocking."""
        for name in names:
            program = self._stack.plan().program(name)
            with self._stack.log(name).open("ab") as log:
                self._running[name] = subprocess.Popen(
                    program.argv,
                    env={**program.environment, STACK_MARK: str(self._stack.state_dir)},
                    cwd=program.cwd,
                    stdout=log,
                    stderr=log,
                )
        for name in names:
            self._wait_until_ready(name)

    def restart(self, names: Sequence[str]) -> dict[str, int]:
        """SIGTERM to all of them at once and each started again at once; their exit codes.

        Blocking. Raises TimeoutExpired when one does not end in time.
        """
        with ThreadPoolExecutor(len(names)) as pool:
            return dict(zip(names, pool.map(self._restart, names), strict=True))

    def _restart(self, name: str) -> int:
        process = self._running[name]
        process.send_signal(signal.SIGTERM)
        code = process.wait(STOP_SECONDS)
        self.start([name])
        return code

    def kill_all(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()
        self._running.clear()

    def _wait_until_ready(self, name: str) -> None:
        program = self._stack.plan().program(name)
        deadline = time.monotonic() + READY_SECONDS
        while not program.is_ready():
            assert self._running[name].poll() is None, f"{name} ended: {self._last_words(name)}"
            assert time.monotonic() < deadline, f"{name} is not ready: {self._last_words(name)}"
            time.sleep(0.05)

    def _last_words(self, name: str) -> str:
        return self._stack.log(name).read_text(errors="replace")[-1000:]


@contextmanager
def own_processes(stack: Stack) -> Iterator[OwnProcesses]:
    """Everything but the servers as children, as long as the block; afterwards the stack's own."""
    names = [name for name in NAMES if name not in SERVERS]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(_stop, [stack] * len(names), names))
    processes = OwnProcesses(stack)
    try:
        # In the order of the stack; identity first, or the others begin without its keys
        processes.start(["sandbox", "identity-api"])
        processes.start([name for name in names if name not in ("sandbox", "identity-api")])
        yield processes
    finally:
        processes.kill_all()
        stack.up()


def _stop(stack: Stack, name: str) -> None:
    process = stack.find(name)
    if process is not None:
        process.terminate()
        process.wait(STOP_SECONDS)
