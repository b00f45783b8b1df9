"""A process of ours as a child, which alone learns its exit code: for tests, bench and crash runs.

    child = Child.start([sys.executable, "-m", "services.billing", "worker"],
                        environment=settings, log=folder / "worker.log", is_ready=probe)
    child.wait_until_ready()
    child.stop()          # SIGTERM; its exit code

What outlives its starter is a devstack's: `devstack/processes.py`.
"""

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devstack.plan import ROOT
from devstack.problems import DevstackError

READY_SECONDS = 60.0
# The longest grace of any of them, and a slow machine.
STOP_SECONDS = 20.0
POLL_SECONDS = 0.05
LAST_WORDS = 1000


@dataclass(frozen=True, slots=True)
class Child:
    """Blocking. `is_ready` returns quickly and raises nothing."""

    process: subprocess.Popen[bytes]
    log: Path
    is_ready: Callable[[], bool]

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        is_ready: Callable[[], bool],
        cwd: Path = ROOT,
    ) -> "Child":
        """Start without waiting; both outputs are appended to `log`."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                argv, env=dict(environment), cwd=cwd, stdout=output, stderr=output
            )
        return cls(process, log, is_ready)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.exit_code is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; -9 after SIGKILL."""
        return self.process.poll()

    def wait_until_ready(self, seconds: float = READY_SECONDS) -> None:
        """Raises DevstackError where it ends or is too slow."""
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            if not self.is_running:
                raise DevstackError(f"It ended with {self.exit_code}: {self.last_words()}")
            if time.monotonic() > deadline:
                raise DevstackError(f"It is not ready after {seconds:.0f} s: {self.last_words()}")
            time.sleep(POLL_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        """Any signal, such as SIGSTOP; none where it has ended."""
        self.process.send_signal(number)

    def terminate(self, seconds: float = STOP_SECONDS) -> int:
        """SIGTERM; its exit code. Raises TimeoutExpired when it does not end in time."""
        self.signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def stop(self) -> bool:
        """SIGTERM, and SIGKILL where that is not enough; False then."""
        try:
            self.terminate()
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        return True

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.wait()

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-LAST_WORDS:]


def free_port() -> int:
    """A TCP port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
