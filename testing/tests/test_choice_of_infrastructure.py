"""Which servers a test session takes, and what it says about it."""

import gc
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from devstack.plan import ROOT
from testing.engine import NoEngine, find_engine
from testing.images import images
from testing.infrastructure import decide
from testing.servers import InfrastructureError

IMAGES = ["postgres:18", "redis:8"]


@dataclass
class EngineWith:
    """An engine that has these images."""

    present: Sequence[str]

    def __call__(self) -> "EngineWith":
        return self

    def missing(self, images: Sequence[str]) -> list[str]:
        return [image for image in images if image not in self.present]


def no_engine() -> EngineWith:
    raise NoEngine("no Docker engine answers")


def must_not_be_asked() -> EngineWith:
    raise AssertionError("the engine was asked")


def test_containers_are_taken_where_an_engine_has_every_image() -> None:
    decision = decide({}, images=IMAGES, engine=EngineWith(IMAGES))

    assert decision.kind == "containers"
    assert str(decision) == (
        "containers, because a Docker engine answers and has postgres:18, redis:8"
    )


@pytest.mark.parametrize("unset", [{}, {"SONGHE_TEST_INFRA": ""}])
def test_without_an_engine_it_is_a_devstack(unset: dict[str, str]) -> None:
    decision = decide(unset, images=IMAGES, engine=no_engine)

    assert decision.kind == "devstack"
    assert str(decision) == ("a devstack of this session's own, because no Docker engine answers")


def test_a_missing_image_is_not_pulled_but_means_a_devstack() -> None:
    decision = decide({}, images=IMAGES, engine=EngineWith(["postgres:18"]))

    assert decision.kind == "devstack"
    assert decision.reason == "the engine has no redis:8"


@pytest.mark.parametrize("wanted", ["devstack", "external"])
def test_who_says_what_to_take_gets_it_and_no_engine_is_asked(wanted: str) -> None:
    decision = decide({"SONGHE_TEST_INFRA": wanted}, images=IMAGES, engine=must_not_be_asked)

    assert (decision.kind, decision.reason) == (wanted, "SONGHE_TEST_INFRA says so")


def test_containers_that_are_asked_for_but_impossible_are_one_sentence() -> None:
    asked = {"SONGHE_TEST_INFRA": "containers"}

    with pytest.raises(InfrastructureError, match="containers, but no Docker engine answers"):
        decide(asked, images=IMAGES, engine=no_engine)
    with pytest.raises(InfrastructureError) as refusal:
        decide(asked, images=IMAGES, engine=EngineWith([]))
    assert str(refusal.value) == (
        "SONGHE_TEST_INFRA=containers, but the engine has no postgres:18 or redis:8:"
        " run `docker pull postgres:18 && docker pull redis:8`."
    )


def test_an_unknown_infrastructure_is_one_sentence() -> None:
    with pytest.raises(InfrastructureError, match="may be containers, devstack or external"):
        decide({"SONGHE_TEST_INFRA": "cloud"}, images=IMAGES, engine=must_not_be_asked)


def test_an_engine_that_is_not_there_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = listener.getsockname()[1]
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{silent}")

    with pytest.raises(NoEngine, match="no Docker engine answers"):
        find_engine()


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_an_engine_that_is_not_there_leaves_no_socket_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'nobody.sock'}")

    with pytest.raises(NoEngine, match="no Docker engine answers"):
        find_engine()

    # What were left open would be found now, and fail this test instead of a later one
    gc.collect()


def test_an_engine_that_accepts_but_says_nothing_does_not_hold_up_the_tests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{listener.getsockname()[1]}")

        with pytest.raises(NoEngine, match="no Docker engine answers"):
            find_engine()

    assert time.monotonic() - began < 5


def test_an_engine_elsewhere_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://somebody@192.0.2.1")

    with pytest.raises(NoEngine, match="is not on this machine"):
        find_engine()


def test_the_tags_are_those_of_compose(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("# a comment\nPOSTGRES_TAG=1\nREDIS_TAG=2\nKAFKA_TAG=3.4.5\n")

    assert list(images(env).values()) == ["postgres:1", "redis:2", "apache/kafka:3.4.5"]
    compose = (ROOT / "docker-compose.yml").read_text()
    for server, image in images().items():
        name = image.partition(":")[0]
        assert f"image: {name}:${{{server.upper()}_TAG}}" in compose


def test_a_run_that_cannot_have_its_containers_ends_with_one_sentence_and_code_4() -> None:
    environment = os.environ | {
        "SONGHE_TEST_INFRA": "containers",
        "DOCKER_HOST": "tcp://127.0.0.1:1",
    }
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--collect-only", __file__],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert run.returncode == 4
    assert "no Docker engine answers" in run.stderr
    assert "Traceback" not in run.stderr + run.stdout
