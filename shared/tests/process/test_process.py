"""A process ends cleanly on SIGTERM, loudly on a fault, and always in time."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import IO

import httpx2
import pytest

from testing.child import free_port

ROOT = Path(__file__).parents[3]
# A fault, not slowness: a machine with much else to do starts a process within a minute.
DEADLINE_SECONDS = 60.0


@dataclass
class Running:
    """A demo process and what it told so far."""

    process: subprocess.Popen[str]
    operations_url: str
    told: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)

    def wait_for(self, beginning: str) -> str:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            for line in list(self.told):
                if line.startswith(beginning):
                    return line
            time.sleep(0.01)
        raise AssertionError(f"never told {beginning!r}: {self.told} {self.logged}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.wait_for('http ').split()[1]}"

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def exit_code(self) -> int:
        return self.process.wait(DEADLINE_SECONDS)

    def log_events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.logged]


@contextmanager
def demo_process(fault: str = "", *, grace_seconds: float = 10.0) -> Iterator[Running]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "shared.tests.demo_process", fault, str(port), str(grace_seconds)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    running = Running(process, f"http://127.0.0.1:{port}")
    assert process.stdout is not None
    assert process.stderr is not None
    readers = [
        Thread(target=_collect, args=(process.stdout, running.logged)),
        Thread(target=_collect, args=(process.stderr, running.told)),
    ]
    for reader in readers:
        reader.start()
    try:
        yield running
    finally:
        process.kill()
        process.wait()
        for reader in readers:
            reader.join()
        process.stdout.close()
        process.stderr.close()


def _collect(stream: IO[str], lines: list[str]) -> None:
    for line in stream:
        lines.append(line.strip())


def index_of(running: Running, line: str) -> int:
    return running.told.index(line)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_parts_in_order_and_then_the_pools(number: signal.Signals) -> None:
    with demo_process() as running:
        running.wait_for("second started")
        _ = running.url

        running.process.send_signal(number)

        assert running.exit_code() == 0
    order = ["first stopped", "second stopped", "pool closed", "last closed"]
    assert [line for line in running.told if line in order] == order


def test_a_request_in_flight_is_answered_before_the_process_ends() -> None:
    with demo_process() as running, httpx2.Client(trust_env=False) as client:
        answers: list[httpx2.Response] = []
        url = f"{running.url}/demo/v1/slow"
        asking = Thread(target=lambda: answers.append(client.get(url)))
        asking.start()
        running.wait_for("slow request begun")

        running.terminate()

        asking.join(DEADLINE_SECONDS)
        assert answers[0].json() == {"is": "finished"}
        assert running.exit_code() == 0


def test_an_idle_connection_stays_open_longer_than_our_clients_keep_theirs() -> None:
    # httpx keeps one for five seconds, as long as uvicorn if nobody tells it otherwise: a request
    # that meets the closing on its way ends in a reset, done or not.
    with demo_process() as running:
        address = httpx2.URL(running.url)
        with socket.create_connection((address.host, address.port or 0), DEADLINE_SECONDS) as kept:
            kept.sendall(b"GET /demo/v1/openapi.json HTTP/1.1\r\nhost: here\r\n\r\n")
            kept.settimeout(6.0)
            received = kept.recv(65536)
            with suppress(TimeoutError):
                while received:
                    received = kept.recv(65536)

        assert received


def test_while_it_drains_it_is_live_and_not_ready() -> None:
    with (
        demo_process("hangs", grace_seconds=3.0) as running,
        httpx2.Client(trust_env=False) as client,
    ):
        _ = running.url
        assert client.get(f"{running.operations_url}/health/ready").status_code == 200

        running.terminate()
        deadline = time.monotonic() + 2.0
        ready = client.get(f"{running.operations_url}/health/ready")
        while ready.status_code == 200 and time.monotonic() < deadline:
            ready = client.get(f"{running.operations_url}/health/ready")

        assert ready.status_code == 503
        assert ready.json()["faults"] == {"process": "draining"}
        assert client.get(f"{running.operations_url}/health/live").status_code == 200


@pytest.mark.parametrize("fault", ["raises", "returns", "raises late"])
def test_a_part_that_breaks_ends_the_process_with_one_log_line(fault: str) -> None:
    with demo_process(fault) as running:
        if fault == "raises late":
            running.wait_for("second started")
            running.terminate()

        assert running.exit_code() == 1
    expected = "component_ended" if fault == "returns" else "component_failed"
    assert [event for event in running.log_events() if event.startswith("component_")] == [expected]
    assert "second stopped" in running.told
    assert "pool closed" in running.told


def test_a_part_that_hangs_is_cancelled_at_the_end_of_the_grace() -> None:
    with demo_process("hangs", grace_seconds=0.5) as running:
        running.wait_for("second started")
        begun_at = time.monotonic()

        running.terminate()

        assert running.exit_code() == 1
        assert time.monotonic() - begun_at < 5.0
    assert "component_cancelled" in running.log_events()
    assert "pool closed" in running.told


def test_a_second_signal_stops_the_waiting() -> None:
    with demo_process("hangs", grace_seconds=60.0) as running:
        running.wait_for("second started")
        _ = running.url
        running.terminate()
        time_limit = time.monotonic() + DEADLINE_SECONDS
        while (
            httpx2.get(f"{running.operations_url}/health/ready", trust_env=False).status_code == 200
        ):
            assert time.monotonic() < time_limit

        running.terminate()

        assert running.exit_code() == 1


def test_a_pool_that_does_not_close_keeps_no_other_open() -> None:
    with demo_process("close fails") as running:
        running.wait_for("second started")

        running.terminate()
        running.exit_code()

    assert "last closed" in running.told


def test_a_taken_port_is_one_log_line_and_exit_code_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        ended = subprocess.run(
            [sys.executable, "-m", "shared.tests.demo_process", "", str(port), "10"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )

    assert ended.returncode == 1
    events = [json.loads(line)["event"] for line in ended.stdout.splitlines()]
    assert events == ["component_failed", "process_stopped"]


def test_metrics_are_served_beside_the_probes() -> None:
    with demo_process() as running, httpx2.Client(trust_env=False) as client:
        _ = running.url

        scraped = client.get(f"{running.operations_url}/metrics")
        unknown = client.get(f"{running.operations_url}/else")
        written = client.post(f"{running.operations_url}/metrics")

        assert scraped.headers["content-type"].startswith("text/plain")
        assert "songhe_loop_lag_seconds_bucket" in scraped.text
        assert (unknown.status_code, written.status_code) == (404, 405)
        assert "server" not in scraped.headers
