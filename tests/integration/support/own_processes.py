"""The stack's processes as children of the test, which alone learns their exit codes."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from devstack.plan import NAMES, SERVERS
from devstack.processes import STACK_MARK
from devstack.stack import Stack
from testing.child import STOP_SECONDS, Child


class OwnProcesses:
    """Runs processes with the stack's settings, ports and logs, instead of the stack's own."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._running: dict[str, Child] = {}

    def start(self, names: Sequence[str]) -> None:
        """Start them side by side and wait until all are ready. Blocking."""
        for name in names:
            program = self._stack.plan().program(name)
            self._running[name] = Child.start(
                program.argv,
                environment={**program.environment, STACK_MARK: str(self._stack.state_dir)},
                cwd=program.cwd,
                log=self._stack.log(name),
                is_ready=program.is_ready,
            )
        for name in names:
            self._running[name].wait_until_ready()

    def restart(self, names: Sequence[str]) -> dict[str, int]:
        """SIGTERM to all of them at once and each started again at once; their exit codes.

        Blocking. Raises TimeoutExpired when one does not end in time.
        """
        with ThreadPoolExecutor(len(names)) as pool:
            return dict(zip(names, pool.map(self._restart, names), strict=True))

    def _restart(self, name: str) -> int:
        code = self._running[name].terminate()
        self.start([name])
        return code

    def kill_all(self) -> None:
        for child in self._running.values():
            child.kill()
        self._running.clear()


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
