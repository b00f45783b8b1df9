"""Processes that outlive us: started once, found again by pid file, stopped for certain.

A pid file holds the process id and its start time: an id that the system gave to somebody else
in the meantime never counts as ours and is never signalled.
"""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from devstack.problems import DevstackError

LAUNCHER = Path(__file__).with_name("launcher.py")
# Every process of a stack carries its state folder here, so that `down` also finds one whose
# pid file was never written because its parent died in between.
STACK_MARK = "SONGHE_DEVSTACK_STACK"
POLL_SECONDS = 0.02
KILL_SECONDS = 10.0
LOG_LIMIT_BYTES = 20 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run and how to tell that it is ready.

    `is_ready` returns quickly and raises nothing. `user` is (uid, gid), None for our own.
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    cwd: Path
    is_ready: Callable[[], bool]
    ready_seconds: float = 30.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 15.0
    user: tuple[int, int] | None = None

    @property
    def fingerprint(self) -> str:
        """Changes when the program has to be started anew to follow its settings."""
        settings = sorted(p for p in self.environment.items() if p[0].startswith("SONGHE_"))
        return hashlib.sha256(json.dumps([list(self.argv), settings]).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Processes:
    """The processes of one stack, by name."""

    state_dir: Path

    def start(self, program: Program) -> int:
        """Start a program that does not run; its process id. Raises DevstackError."""
        log = self.log(program.name)
        _turn_over(log)
        environment = {**program.environment, STACK_MARK: str(self.state_dir)}
        done = run_launcher(program, environment=environment, log=log)
        if done.returncode != 0:
            raise DevstackError(f"{program.name} cannot be started: {done.stderr.strip()}.")
        pid = int(done.stdout)
        self._remember(program, pid)
        return pid

    def wait_until_ready(self, program: Program) -> None:
        """Return when the program answers; raise DevstackError when it ended or is too slow."""
        deadline = time.monotonic() + program.ready_seconds
        while not program.is_ready():
            if self.find(program.name) is None:
                raise DevstackError(self._ended_sentence(program.name))
            if time.monotonic() > deadline:
                raise DevstackError(
                    f"{program.name} was not ready within {program.ready_seconds:.0f} s; "
                    f"its log is {self.log(program.name)}."
                )
            time.sleep(POLL_SECONDS)

    def find(self, name: str) -> psutil.Process | None:
        """The running process of that name, None if it does not run."""
        record = self._record(name)
        if record is None:
            return None
        try:
            process = psutil.Process(record["pid"])
            ours = birth_of(process) == record["birth"]
            return process if ours and not has_ended(process) else None
        except psutil.NoSuchProcess:
            return None

    def fingerprint(self, name: str) -> str | None:
        """The fingerprint that the process of that name was started with."""
        record = self._record(name)
        return record["fingerprint"] if record else None

    def names(self) -> list[str]:
        """Every name that has a pid file."""
        return sorted(path.stem for path in (self.state_dir / "run").glob("*.json"))

    def stop(self, name: str) -> bool:
        """Stop a process and all its children: by signal, after the deadline by SIGKILL.

        Returns False if it had to be killed. A process that does not run is stopped already.
        """
        record, process = self._record(name), self.find(name)
        gently = True
        if record is not None and process is not None:
            family = [process, *_children(process)]
            _signal(process, signal.Signals(record["stop_signal"]))
            gently = _wait_until_ended([process], record["stop_seconds"])
            end_all(family)
        self._pid_file(name).unlink(missing_ok=True)
        return gently

    def kill(self, name: str) -> None:
        """SIGKILL to exactly this process, as a crash would do; its pid file stays.

        Waits until its children, if it has any, have noticed and ended too.
        """
        process = self.find(name)
        if process is not None:
            family = [process, *_children(process)]
            _signal(process, signal.SIGKILL)
            _wait_until_ended(family, KILL_SECONDS)

    def strays(self) -> list[psutil.Process]:
        """Processes that carry this stack's mark, whether a pid file knows them or not."""
        found = []
        for process in psutil.process_iter():
            try:
                marked = process.environ().get(STACK_MARK) == str(self.state_dir)
            except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
                continue
            if marked and process.pid != os.getpid() and not has_ended(process):
                found.append(process)
        return found

    def listening_ports(self) -> set[int]:
        """The TCP ports that processes with this stack's mark listen on, whoever started them."""
        found: set[int] = set()
        for process in self.strays():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                found |= {
                    connection.laddr.port
                    for connection in process.net_connections(kind="tcp")
                    if connection.status == psutil.CONN_LISTEN
                }
        return found

    def log(self, name: str) -> Path:
        """Where the output of that process goes."""
        return self.state_dir / "logs" / f"{name}.log"

    def _remember(self, program: Program, pid: int) -> None:
        try:
            birth = birth_of(psutil.Process(pid))
        except psutil.NoSuchProcess:
            raise DevstackError(self._ended_sentence(program.name)) from None
        record = {
            "pid": pid,
            "birth": birth,
            "fingerprint": program.fingerprint,
            # Kept here so that stopping needs nothing but this file
            "stop_signal": int(program.stop_signal),
            "stop_seconds": program.stop_seconds,
        }
        path = self._pid_file(program.name)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(record))
        fresh.replace(path)

    def _record(self, name: str) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = json.loads(self._pid_file(name).read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return record

    def _ended_sentence(self, name: str) -> str:
        log = self.log(name)
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        last = f" Its last line: {lines[-1]}" if lines else ""
        return f"{name} ended by itself; its log is {log}.{last}"

    def _pid_file(self, name: str) -> Path:
        return self.state_dir / "run" / f"{name}.json"


def run_launcher(
    program: Program, *, environment: Mapping[str, str], log: Path | None, deadline: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Hand a program to the launcher; without a log it runs in the foreground to its end."""
    order = {
        "argv": list(program.argv),
        "environment": dict(environment),
        "cwd": str(program.cwd),
        "log": str(log) if log else None,
        "user": program.user,
    }
    return subprocess.run(
        [sys.executable, "-I", "-S", str(LAUNCHER)],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        timeout=deadline,
        check=False,
    )


def end_all(processes: Sequence[psutil.Process]) -> None:
    """SIGKILL to whatever of these still runs. Raises DevstackError if even that fails."""
    left = [process for process in processes if not has_ended(process)]
    for process in left:
        _signal(process, signal.SIGKILL)
    if not _wait_until_ended(left, KILL_SECONDS):
        pids = ", ".join(str(process.pid) for process in left if not has_ended(process))
        raise DevstackError(f"The system does not end process {pids} although it was killed.")


def birth_of(process: psutil.Process) -> str:
    """When the process began, in a form that no other process with its id can have.

    On Linux in clock ticks since this boot: the time of day may be set, ticks only count up.
    """
    if sys.platform != "linux":
        return str(process.create_time())
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(process.pid) from None
    # The command, in parentheses, may hold anything; the fields count from behind it
    ticks = stat.rpartition(")")[2].split()[19]
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {ticks}"


def has_ended(process: psutil.Process) -> bool:
    """Whether it is gone, or only waits for its parent to notice (which may never happen)."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _wait_until_ended(processes: Sequence[psutil.Process], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not all(has_ended(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)  # psutil compares the start time again before it signals


def _turn_over(log: Path) -> None:
    """Keep a log from growing for ever: one older part stays."""
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".log.1"))
