"""The container engine of this machine, as far as tests ask it: is it there, what does it have."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote, urlsplit

import docker
from docker.errors import DockerException, ImageNotFound
from requests.exceptions import RequestException
from testcontainers.core.docker_client import get_docker_host
from testcontainers.core.utils import inside_container

ANSWER_SECONDS = 2
# Where the client looks when nothing is set
DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
HERE = ("", "localhost", "127.0.0.1", "::1")


class NoEngine(Exception):
    """Why there is none to use; a clause that fits behind `because`."""


class Engine(Protocol):
    """What decides between containers and a devstack."""

    def missing(self, images: Sequence[str]) -> list[str]:
        """Those of the images that are not there; nothing is pulled."""


@dataclass(frozen=True)
class DockerEngine:
    """An engine that answered a moment ago."""

    address: str | None

    def missing(self, images: Sequence[str]) -> list[str]:
        client = _client(self.address)
        try:
            return [image for image in images if not _has(client, image)]
        finally:
            client.close()


def find_engine() -> Engine:
    """The engine that `docker` would use. Raises NoEngine, after two seconds at the latest."""
    address = get_docker_host()
    if not _is_local(address):
        # Published ports would be there, and Kafka tells its clients to come to 127.0.0.1
        raise NoEngine(f"the Docker engine {address} is not on this machine")
    if not _accepts(address):
        raise NoEngine("no Docker engine answers")
    try:
        client = _client(address)
        try:
            home = client.info().get("Name")
        finally:
            client.close()
    except (DockerException, RequestException, OSError):
        raise NoEngine("no Docker engine answers") from None
    if inside_container() and home != socket.gethostname():
        raise NoEngine("the Docker engine is outside of the container that these tests run in")
    return DockerEngine(address)


def _client(address: str | None) -> docker.DockerClient:
    if address is None:
        return docker.from_env(timeout=ANSWER_SECONDS)
    return docker.DockerClient(base_url=address, timeout=ANSWER_SECONDS)


def _is_local(address: str | None) -> bool:
    parts = urlsplit(address or "unix://")
    return parts.scheme in ("unix", "npipe", "http+unix") or parts.hostname in HERE


def _accepts(address: str | None) -> bool:
    """Whether anybody listens. Docker's client never closes a Unix socket that nobody answers."""
    parts = urlsplit(address or DEFAULT_ADDRESS)
    if parts.scheme not in ("unix", "http+unix"):
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(ANSWER_SECONDS)
        try:
            probe.connect(unquote(parts.netloc) + parts.path)
        except OSError:
            return False
    return True


def _has(client: docker.DockerClient, image: str) -> bool:
    try:
        client.images.get(image)
    except ImageNotFound:
        return False
    return True
