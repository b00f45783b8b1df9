"""Processes outlive their parent, are found again and end for certain; strangers stay alone."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from devstack.problems import DevstackError
from devstack.processes import Processes, Program, has_ended

SLEEP = "import time; print('up', flush=True); time.sleep(600)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SLEEP
PARENT = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]]);" + SLEEP


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    for folder in ("run", "logs"):
        (tmp_path / folder).mkdir()
    processes = Processes(tmp_path)
    yield processes
    for stray in processes.strays():
        stray.kill()


def a_program(
    code: str = SLEEP, *, processes: Processes, setting: str = "1", stop_seconds: float = 5.0
) -> Program:
    log = processes.log("thing")
    return Program(
        name="thing",
        argv=[sys.executable, "-c", code, SLEEP],
        environment={"SONGHE_THING": setting},
        cwd=processes.state_dir,
        is_ready=lambda: log.exists() and "up" in log.read_text(),
        ready_seconds=10.0,
        stop_seconds=stop_seconds,
    )


def started(program: Program, processes: Processes) -> psutil.Process:
    processes.start(program)
    processes.wait_until_ready(program)
    process = processes.find(program.name)
    assert process is not None
    return process


def test_a_process_is_found_by_somebody_else_and_stopped(processes: Processes) -> None:
    process = started(a_program(processes=processes), processes)

    somebody_else = Processes(processes.state_dir)

    assert somebody_else.find("thing") == process
    assert somebody_else.stop("thing") is True
    assert has_ended(process)
    assert somebody_else.names() == []


def test_a_process_has_a_session_of_its_own_and_no_parent_of_ours(processes: Processes) -> None:
    process = started(a_program(processes=processes), processes)

    assert os.getsid(process.pid) == process.pid
    assert process.ppid() != os.getpid()


def test_a_process_that_ignores_the_signal_is_killed_after_the_deadline(
    processes: Processes,
) -> None:
    process = started(a_program(DEAF, processes=processes, stop_seconds=0.2), processes)

    assert processes.stop("thing") is False
    assert has_ended(process)


def test_children_end_with_their_parent(processes: Processes) -> None:
    process = started(a_program(PARENT, processes=processes), processes)
    children = process.children()

    processes.stop("thing")

    assert len(children) == 1
    assert all(has_ended(child) for child in children)


def test_a_stranger_with_a_reused_process_id_is_left_alone(processes: Processes) -> None:
    started(a_program(processes=processes), processes)
    file = processes.state_dir / "run" / "thing.json"
    with subprocess.Popen([sys.executable, "-c", SLEEP], stdout=subprocess.DEVNULL) as stranger:
        file.write_text(json.dumps({**json.loads(file.read_text()), "pid": stranger.pid}))

        assert processes.find("thing") is None
        assert processes.stop("thing") is True

        assert stranger.poll() is None
        stranger.kill()


def test_a_process_without_pid_file_is_found_by_its_mark(processes: Processes) -> None:
    process = started(a_program(processes=processes), processes)
    (processes.state_dir / "run" / "thing.json").unlink()

    assert processes.strays() == [process]


def test_a_process_that_ends_at_once_is_told_with_its_last_line(processes: Processes) -> None:
    program = a_program("raise SystemExit('no luck today')", processes=processes)

    with pytest.raises(DevstackError, match=r"thing ended by itself.*no luck today"):
        started(program, processes)


def test_a_program_that_cannot_run_is_told(processes: Processes) -> None:
    program = Program(
        name="thing",
        argv=["/nowhere/to/be/found"],
        environment={},
        cwd=processes.state_dir,
        is_ready=lambda: True,
    )

    with pytest.raises(DevstackError, match=r"thing cannot be started: .*No such file"):
        processes.start(program)


def test_a_killed_process_is_down_until_it_is_started_again(processes: Processes) -> None:
    process = started(a_program(processes=processes), processes)

    processes.kill("thing")

    assert has_ended(process)
    assert processes.find("thing") is None


def test_a_changed_setting_changes_the_fingerprint(processes: Processes) -> None:
    before = a_program(processes=processes)
    after = a_program(processes=processes, setting="2")

    assert before.fingerprint != after.fingerprint
    assert before.stop_signal == signal.SIGTERM
