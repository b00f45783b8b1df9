"""One stack: bring it up, take it down, and move single processes, all by its state folder."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psutil

from devstack import externals as external_servers
from devstack import jars, kafka, plan, ports, postgres
from devstack.externals import Externals
from devstack.keys import development as keys
from devstack.plan import NAMES, ROOT, SERVERS, STAGES, Plan
from devstack.problems import DevstackError
from devstack.processes import Processes, Program, end_all
from devstack.report import Report, Silence
from shared.catalogue import SERVICES

LOCK_SECONDS = 120.0
ONE_SHOT_SECONDS = 120.0
# Two one-shots at a time keep both cores of a small machine busy.
PARALLEL_STARTS = 4
STATE_FOLDERS = ("run", "logs", "keys", "postgres", "redis", "kafka", "sandbox")
STATE_FILES = ("ports.json", "externals.json", "lock")


def default_state_dir() -> Path:
    """`SONGHE_STATE_DIR`, or `.songhe` beside the code."""
    return Path(os.environ.get("SONGHE_STATE_DIR") or ROOT / ".songhe")


class Stack:
    """A stack without Docker. Blocking; safe against a second `up` or `down` at the same time.

    Everything it knows is in the state folder: any later process may continue where this one
    stopped. Raises DevstackError with one sentence when something outside is wrong.
    """

    def __init__(
        self,
        state_dir: Path | str | None = None,
        *,
        overrides: Mapping[str, Mapping[str, str]] | None = None,
        externals: Externals | None = None,
        report: Report | None = None,
    ) -> None:
        self.state_dir = Path(state_dir or default_state_dir()).expanduser().resolve()
        self._overrides = dict(overrides or {})
        self._externals = externals
        self._report = report or Silence()
        self._processes = Processes(self.state_dir)

    def up(self, only: Collection[str] | None = None) -> bool:
        """Start what does not run and wait until it is ready; False if nothing was to do.

        `only` names processes (`billing-worker`), services (`billing`) or `infra`, which is
        PostgreSQL, Redis and Kafka and always included.
        """
        selected = plan.select(only)
        with self._locked():
            layout = self._prepare()
            wanted = [name for name in NAMES if name in selected - layout.externals.names]
            waiting = [name for name in wanted if not self._is_up(layout.program(name))]
            if not waiting:
                return False
            self._prepare_servers(layout, waiting, selected)
            for stage in STAGES[2:]:
                self._start_all(layout, [name for name in stage if name in waiting])
        return True

    def down(self, *, delete: bool = False) -> None:
        """Stop every process of this stack; with `delete` also remove its data, keys and logs."""
        if not self.state_dir.exists():
            return
        with self._locked():
            running = self._processes.names()
            known = {name for stage in STAGES for name in stage}
            self._stop_all([name for name in running if name not in known])
            for stage in reversed(STAGES):
                self._stop_all([name for name in stage if name in running])
            strays = self._processes.strays()
            end_all(strays)
            if strays:
                self._report.step("strays", f"{len(strays)} ended")
            if delete:
                self._delete()

    def start(self, name: str) -> None:
        """Start one process and wait until it is ready; no migration runs."""
        with self._locked():
            layout = self._prepare()
            if not self._is_up(layout.program(name)):
                self._start_server(layout, name) if name in SERVERS else self._start(layout, name)

    def stop(self, name: str) -> bool:
        """Stop one process cleanly; False if it had to be killed."""
        with self._locked():
            return self._stop(name)

    def restart(self, name: str) -> None:
        """Stop and start one process."""
        self.stop(name)
        self.start(name)

    def kill(self, name: str) -> None:
        """SIGKILL to one process, as a crash would do."""
        self._processes.kill(name)

    def run(
        self, service: str, *command: str, deadline_seconds: float = ONE_SHOT_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run `python -m services.<service> <command>` to its end with the stack's settings."""
        return _run_module(self.plan(), service, *command, deadline_seconds=deadline_seconds)

    def plan(self) -> Plan:
        """Ports and settings as the last `up` left them. Raises DevstackError before the first."""
        file = self.state_dir / "ports.json"
        if not file.exists():
            raise DevstackError(f"There is no stack in {self.state_dir}: run `make up`.")
        return self._plan(in_use_by_us=plan.PORT_NAMES)

    @property
    def urls(self) -> dict[str, str]:
        return self.plan().urls

    @property
    def metrics(self) -> dict[str, str]:
        return self.plan().metrics

    @property
    def databases(self) -> dict[str, str]:
        return self.plan().databases

    @property
    def superuser_url(self) -> str:
        """The PostgreSQL URL of the superuser, for tests that look into or clone databases."""
        return self.plan().server.superuser_url

    def environment_for(self, owner: str, process: str = "") -> dict[str, str]:
        """The complete environment of a process, to start one more of it by oneself."""
        return self.plan().environment_for(owner, process)

    def log(self, name: str) -> Path:
        return self._processes.log(name)

    def find(self, name: str) -> psutil.Process | None:
        """The running process of that name."""
        return self._processes.find(name)

    def states(self) -> dict[str, str]:
        """Process → `ready`, `starting` (it runs but does not answer), `stopped`, `external`."""
        layout = self.plan()
        states = {}
        for name in NAMES:
            if name in layout.externals.names:
                states[name] = "external"
            elif self._processes.find(name) is None:
                states[name] = "stopped"
            else:
                states[name] = "ready" if layout.program(name).is_ready() else "starting"
        return states

    def _prepare(self) -> Plan:
        # 0711: PostgreSQL runs as another user when we are root and has to pass through
        self.state_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
        for name in STATE_FOLDERS:
            (self.state_dir / name).mkdir(exist_ok=True, mode=0o700)
        chosen = self._externals or external_servers.from_environment()
        external_servers.remember(self.state_dir / "externals.json", chosen)
        keys.create_missing(self.state_dir / "keys")
        return self._plan(in_use_by_us=self._names_of_running_ports())

    def _plan(self, *, in_use_by_us: Iterable[str]) -> Plan:
        remembered = external_servers.remembered(self.state_dir / "externals.json")
        return Plan(
            state_dir=self.state_dir,
            ports=ports.choose(
                self.state_dir / "ports.json", plan.PORT_NAMES, in_use_by_us=in_use_by_us
            ),
            externals=self._externals or remembered or external_servers.from_environment(),
            overrides=self._overrides,
        )

    def _names_of_running_ports(self) -> list[str]:
        """A port held by our own process is not taken, also where somebody else started it."""
        running = [name for name in self._processes.names() if self._processes.find(name)]
        started = {p for p in plan.PORT_NAMES for n in running if p == n or p.startswith(f"{n}-")}
        remembered = ports.read(self.state_dir / "ports.json")
        held = self._processes.listening_ports() & set(remembered.values())
        return [*started, *(name for name, port in remembered.items() if port in held)]

    def _is_up(self, program: Program) -> bool:
        same = self._processes.fingerprint(program.name) == program.fingerprint
        return same and self._processes.find(program.name) is not None and program.is_ready()

    def _prepare_servers(
        self, layout: Plan, waiting: Collection[str], selected: Collection[str]
    ) -> None:
        """Servers, tables, topics, and the outside world: each as soon as what it needs is there.

        Kafka takes longest to come: tables are made meanwhile.
        """
        services = [s for s in SERVICES if any(n.startswith(f"{s}-") for n in selected)]
        if not set(waiting) - set(SERVERS):
            services = []
        outside = [name for name in STAGES[1] if name in waiting]
        _together(
            [
                partial(self._prepare_kafka, layout, waiting, services),
                partial(self._prepare_postgres, layout, waiting, services),
                *(partial(self._start_server, layout, n) for n in ("redis",) if n in waiting),
                *(partial(self._start, layout, name) for name in outside),
            ]
        )

    def _prepare_postgres(
        self, layout: Plan, waiting: Collection[str], services: Sequence[str]
    ) -> None:
        if "postgres" in waiting:
            self._start_server(layout, "postgres")
        if "postgres" in waiting or "postgres" in layout.externals.names:
            layout.server.provision(layout.role_passwords)
            self._report.step("postgres", f"{len(SERVICES)} databases, one role each")
        _together([partial(self._one_shot, layout, s, "migrate") for s in services])

    def _prepare_kafka(
        self, layout: Plan, waiting: Collection[str], services: Sequence[str]
    ) -> None:
        if "kafka" in waiting:
            self._start_server(layout, "kafka")
        if services:
            self._one_shot(layout, services[0], "topics")

    def _start_server(self, layout: Plan, name: str) -> None:
        folder = self.state_dir / name
        environment = plan.base_environment()
        if name == "postgres":
            if not (folder / "data").exists():
                self._report.step(name, "makes its data folder")
            elif self._processes.find(name) is None:
                postgres.wait_until_free(folder)
            postgres.initialise(folder, layout.server.password, environment=environment)
        if name == "kafka":
            files = jars.fetch(
                jars.read_lock(), folder=jars.cache_folder() / "jars", progress=self._fetched
            )
            kafka.prepare(
                folder,
                layout.ports["kafka"],
                layout.ports["kafka-controller"],
                jars=files,
                environment=environment,
            )
        self._start(layout, name)

    def _fetched(self, done: int, total: int) -> None:
        if done == total or done % 10 == 0:
            self._report.step("kafka", f"{done} of {total} jars fetched")

    def _one_shot(self, layout: Plan, service: str, command: str) -> None:
        done = _run_module(layout, service, command, deadline_seconds=ONE_SHOT_SECONDS)
        log = self._processes.log(f"{service}-{command}")
        log.write_text(done.stdout + done.stderr)
        if done.returncode != 0:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise DevstackError(
                f"`python -m services.{service} {command}` ended with {done.returncode}; "
                f"its log is {log}. Its last line: {''.join(last)}"
            )
        self._report.step(service, {"migrate": "tables", "topics": "topics"}[command] + " ready")

    def _start_all(self, layout: Plan, names: Collection[str]) -> None:
        _together([partial(self._start, layout, name) for name in names])

    def _start(self, layout: Plan, name: str) -> None:
        program = layout.program(name)
        if self._processes.find(name) is not None:
            if self._processes.fingerprint(name) == program.fingerprint:
                self._processes.wait_until_ready(program)
                return
            self._stop(name)  # it runs with settings of the past
        began = time.monotonic()
        pid = self._processes.start(program)
        self._processes.wait_until_ready(program)
        self._report.step(name, f"ready after {time.monotonic() - began:.1f} s (process {pid})")

    def _stop_all(self, names: Collection[str]) -> None:
        _together([partial(self._stop, name) for name in names])

    def _stop(self, name: str) -> bool:
        was_running = self._processes.find(name) is not None
        gently = self._processes.stop(name)
        if was_running:
            self._report.step(name, "stopped" if gently else "did not stop in time and was killed")
        return gently

    def _delete(self) -> None:
        for name in STATE_FOLDERS:
            shutil.rmtree(self.state_dir / name, ignore_errors=True)
        for name in STATE_FILES:
            (self.state_dir / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a folder that holds other things stays
            self.state_dir.rmdir()
        self._report.step("state", f"{self.state_dir} deleted")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One change at a time per state folder."""
        self.state_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
        with (self.state_dir / "lock").open("w") as file:
            deadline = time.monotonic() + LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise DevstackError(
                            f"Another command has been changing {self.state_dir} for "
                            f"{LOCK_SECONDS:.0f} s."
                        ) from None
                    time.sleep(0.1)
            yield


def _run_module(
    layout: Plan, service: str, *command: str, deadline_seconds: float
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [sys.executable, "-m", f"services.{service}", *command],
            cwd=ROOT,
            env=layout.environment_for(service, command[0]),
            capture_output=True,
            text=True,
            timeout=deadline_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DevstackError(
            f"`python -m services.{service} {' '.join(command)}` took longer than "
            f"{deadline_seconds:.0f} s."
        ) from None


def _together(tasks: Collection[Callable[[], object]]) -> None:
    """Run tasks side by side, wait for all of them, then raise the first failure."""
    with ThreadPoolExecutor(PARALLEL_STARTS) as pool:
        futures: list[Future[object]] = [pool.submit(task) for task in tasks]
    for future in futures:
        future.result()
