"""Containers of a test session end with it, however it ends; only where an engine is here."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container
from testcontainers.core.docker_client import get_docker_host

from devstack.plan import ROOT
from testing.containers import (
    LABEL_HOST,
    LABEL_OWNER,
    owner_labels,
    remove_orphans,
)
from testing.engine import NoEngine, find_engine
from testing.images import images

DEADLINE_SECONDS = 60.0
# A session that starts its servers and then waits to be stopped
SESSION = """
import time

def test_waits(infrastructure):
    print("the servers run", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    try:
        if find_engine().missing(list(images().values())):
            pytest.skip("the engine does not have the images")
    except NoEngine as error:
        pytest.skip(str(error))
    address = get_docker_host()
    client = docker.DockerClient(base_url=address) if address else docker.from_env()
    yield client
    client.close()


@pytest.fixture
def created(engine: docker.DockerClient) -> Iterator[Callable[[dict[str, str]], Container]]:
    """Makes a container, which is never started, with these labels."""
    made: list[Container] = []

    def create(labels: dict[str, str]) -> Container:
        made.append(engine.containers.create(images()["redis"], labels=labels))
        return made[-1]

    yield create
    for container in made:
        if _is_there(engine, container):
            container.remove(force=True, v=True)


def test_only_containers_of_sessions_that_do_not_run_any_more_are_removed(
    engine: docker.DockerClient, created: Callable[[dict[str, str]], Container]
) -> None:
    mine = created(owner_labels())
    dead = created(owner_labels() | {LABEL_OWNER: f"{2**22 + 1} gone"})
    # The same process id, but born at another time: somebody else by now
    reused = created(owner_labels() | {LABEL_OWNER: f"{os.getpid()} another birth"})
    elsewhere = created({LABEL_HOST: "another-host", LABEL_OWNER: f"{2**22 + 1} gone"})
    strange = created({"somebody": "else"})

    remove_orphans()

    there = [_is_there(engine, one) for one in (mine, dead, reused, elsewhere, strange)]
    assert there == [True, False, False, True, True]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_session_that_is_stopped_takes_its_containers_and_volumes_with_it(
    number: signal.Signals, engine: docker.DockerClient, tmp_path: Path
) -> None:
    volumes = {volume.name for volume in engine.volumes.list()}
    session = _session(tmp_path)
    assert len(_containers_of(engine, session)) == 3

    session.send_signal(number)

    session.communicate(timeout=DEADLINE_SECONDS)
    assert _containers_of(engine, session) == []
    assert {volume.name for volume in engine.volumes.list()} <= volumes


def test_what_a_killed_session_left_the_next_one_removes(
    engine: docker.DockerClient, tmp_path: Path
) -> None:
    session = _session(tmp_path)
    session.kill()
    session.communicate(timeout=DEADLINE_SECONDS)
    assert len(_containers_of(engine, session)) == 3

    remove_orphans()

    assert _containers_of(engine, session) == []


def _session(folder: Path) -> subprocess.Popen[str]:
    """A test session whose servers run."""
    file = folder / "test_session.py"
    file.write_text(SESSION)
    arguments = ["-m", "pytest", "-s", "-p", "no:cacheprovider", "-c", "pyproject.toml"]
    session = subprocess.Popen(
        [sys.executable, *arguments, "--rootdir", str(ROOT), "-p", "conftest", str(file)],
        # A run in the background ignores Ctrl+C, and what it starts inherits that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        cwd=ROOT,
        env=os.environ | {"SONGHE_TEST_INFRA": "containers", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert session.stdout is not None
    said = ""
    for line in session.stdout:
        said += line
        if "the servers run" in line:
            return session
    raise AssertionError(said)


def _containers_of(engine: docker.DockerClient, session: subprocess.Popen[str]) -> list[str]:
    here = {"label": f"{LABEL_HOST}={socket.gethostname()}"}
    found = engine.containers.list(all=True, filters=here)
    return [one.name for one in found if one.labels[LABEL_OWNER].startswith(f"{session.pid} ")]


def _is_there(engine: docker.DockerClient, container: Container) -> bool:
    return any(one.id == container.id for one in engine.containers.list(all=True))
