"""PostgreSQL, Redis and Kafka in containers: the images of docker-compose, the devstack's settings.

Data lie in memory. What a killed session left, the next one removes.
"""

import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import docker
import psutil
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import get_docker_host

from devstack import kafka, postgres, valkey
from devstack.processes import birth_of
from testing.child import free_port
from testing.images import images
from testing.servers import Infrastructure, InfrastructureError

HOST = "127.0.0.1"
LABEL_HOST, LABEL_OWNER = "songhe.test-host", "songhe.test-session"
READY_SECONDS = 60.0
POLL_SECONDS = 0.05
KAFKA_CONTROLLER_PORT = 9093
# Not in the image: the user of the image could not write to a folder that root has put there
KAFKA_DATA = "/songhe-test-data"
# Between finding a free port and using it somebody else may be faster.
PORT_TRIES = 3
# What only makes sense for a server that shares our machine.
NOT_IN_A_CONTAINER = ("listen_addresses", "unix_socket_directories")


@contextmanager
def running_containers() -> Iterator[Infrastructure]:
    """The three servers, ready; removed with their volumes at the end.

    Raises InfrastructureError when one does not become ready in time.
    """
    _do_without_reaper_if_it_is_missing()
    remove_orphans()
    image = images()
    password = secrets.token_hex(16)
    with ExitStack() as stack:
        # All start before the first is waited for
        kafka_port, kafka_node = _start_kafka(stack, image["kafka"])
        database = stack.enter_context(_started(_postgres(image["postgres"], password)))
        cache = stack.enter_context(_started(_redis(image["redis"])))
        server = postgres.Server(HOST, _port_of(database, 5432), postgres.SUPERUSER, password)
        redis_port = _port_of(cache, 6379)
        _wait(database, server.answers)
        _wait(cache, lambda: valkey.answers(HOST, redis_port))
        _wait(kafka_node, lambda: _kafka_answers(kafka_port))
        yield Infrastructure(
            postgres_url=server.superuser_url,
            redis_url=f"redis://{HOST}:{redis_port}/0",
            kafka=f"{HOST}:{kafka_port}",
        )


def remove_orphans() -> None:
    """Remove the containers of sessions of this machine that do not run any more."""
    client = _client()
    try:
        ours = {"label": [f"{LABEL_HOST}={socket.gethostname()}", LABEL_OWNER]}
        for container in client.containers.list(all=True, filters=ours, ignore_removed=True):
            if not _is_alive(container.labels[LABEL_OWNER]):
                _remove(container)
    finally:
        client.close()


def owner_labels() -> dict[str, str]:
    """By which a later session knows whose a container is, and whether that one still runs."""
    me = psutil.Process()
    return {LABEL_HOST: socket.gethostname(), LABEL_OWNER: f"{me.pid} {birth_of(me)}"}


def _is_alive(owner: str) -> bool:
    pid, _, birth = owner.partition(" ")
    try:
        return birth_of(psutil.Process(int(pid))) == birth
    except (psutil.Error, ValueError):
        return False


def _remove(container: Container) -> None:
    try:
        container.remove(force=True, v=True)
    except NotFound:
        return  # another session cleans up at the same time
    except APIError as error:
        if error.status_code != 409:  # "removal is already in progress"
            raise


def _do_without_reaper_if_it_is_missing() -> None:
    client = _client()
    try:
        client.images.get(testcontainers_config.ryuk_image)
    except ImageNotFound:
        testcontainers_config.ryuk_disabled = True
    finally:
        client.close()


def _client() -> docker.DockerClient:
    address = get_docker_host()
    return docker.DockerClient(base_url=address) if address else docker.from_env()


def _postgres(image: str, password: str) -> DockerContainer:
    settings = {k: v for k, v in postgres.SETTINGS.items() if k not in NOT_IN_A_CONTAINER}
    return _container(
        image,
        5432,
        data="/var/lib/postgresql",
        environment={
            "POSTGRES_PASSWORD": password,
            "POSTGRES_INITDB_ARGS": "--encoding=UTF8 --locale=C"
            " --locale-provider=builtin --builtin-locale=C.UTF-8",
        },
        command=["postgres", *(part for k, v in settings.items() for part in ("-c", f"{k}={v}"))],
    )


def _redis(image: str) -> DockerContainer:
    settings = (part for k, v in valkey.SETTINGS.items() for part in (f"--{k}", v))
    return _container(image, 6379, data="/data", command=["redis-server", *settings])


def _start_kafka(stack: ExitStack, image: str) -> tuple[int, DockerContainer]:
    """Kafka tells its clients its own port, so it has to be known before the start."""
    for tries_left in reversed(range(PORT_TRIES)):
        port = free_port()
        try:
            return port, stack.enter_context(_started(_kafka(image, port)))
        except InfrastructureError as error:
            if "port is already allocated" not in str(error) or not tries_left:
                raise
    raise AssertionError("unreachable")


def _kafka(image: str, port: int) -> DockerContainer:
    settings = {
        **kafka.SETTINGS,
        # The same port inside, so that the node reaches itself by what it tells its clients
        "listeners": f"PLAINTEXT://:{port},CONTROLLER://:{KAFKA_CONTROLLER_PORT}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.quorum.voters": f"1@localhost:{KAFKA_CONTROLLER_PORT}",
        "log.dirs": KAFKA_DATA,
    }
    environment = {f"KAFKA_{k.upper().replace('.', '_')}": v for k, v in settings.items()}
    return _container(
        image,
        port,
        host_port=port,
        data=KAFKA_DATA,
        environment={
            **environment,
            "CLUSTER_ID": "c29uZ2hlLXRlc3RzLTEtMQ",
            "KAFKA_HEAP_OPTS": kafka.HEAP,
            "KAFKA_JVM_PERFORMANCE_OPTS": " ".join(kafka.JVM_OPTIONS),
        },
    )


def _container(
    image: str,
    port: int,
    *,
    data: str,
    environment: dict[str, str] | None = None,
    command: list[str] | None = None,
    host_port: int | None = None,
) -> DockerContainer:
    # The server inside may be any user
    container = DockerContainer(image).with_tmpfs_mount(data, "mode=1777")
    container.with_envs(**(environment or {}))
    if command:
        container.with_command(command)
    # Loopback only, which the library cannot say; without a port of ours the engine chooses one
    address: Any = (HOST, host_port) if host_port else (HOST,)
    container.ports[str(port)] = address
    return container.with_kwargs(labels=owner_labels())


@contextmanager
def _started(container: DockerContainer) -> Iterator[DockerContainer]:
    try:
        try:
            container.start()
        except DockerException as error:
            raise InfrastructureError(f"{container.image} cannot be started: {error}") from error
        yield container
    finally:
        container.stop()


def _port_of(container: DockerContainer, port: int) -> int:
    return int(container.get_docker_client().port(container.get_container_id(), port))


def _wait(container: DockerContainer, is_ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not is_ready():
        container.reload()
        if container.status != "running" or time.monotonic() > deadline:
            lines = b"".join(container.get_logs()).decode(errors="replace").splitlines()[-2:]
            raise InfrastructureError(
                f"The container of {container.image} did not become ready (it is "
                f"{container.status}); it said last: {' / '.join(lines)}"
            )
        time.sleep(POLL_SECONDS)


def _kafka_answers(port: int) -> bool:
    if not kafka.answers(HOST, port):  # quiet, unlike the client
        return False
    admin = AdminClient({"bootstrap.servers": f"{HOST}:{port}", "log_level": 0})
    try:
        return len(admin.list_topics(timeout=5).brokers) == 1
    except KafkaException:
        return False
