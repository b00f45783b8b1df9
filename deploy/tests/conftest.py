"""The manifests, rendered once; `make render` runs these tests, `make test` does not: kubectl."""

import pytest

from deploy.render import FOLDER, render_all
from deploy.tests.manifests import Manifests


@pytest.fixture(scope="session")
def rendered() -> dict[str, Manifests]:
    return {name: Manifests.read(FOLDER / f"{name}.yaml") for name in render_all(FOLDER)}


@pytest.fixture(scope="session", params=["dev", "prod", "base", "dev-with-monitoring"])
def manifests(request: pytest.FixtureRequest, rendered: dict[str, Manifests]) -> Manifests:
    """Each rendering in turn."""
    return rendered[request.param]


@pytest.fixture(scope="session", params=["dev", "prod"])
def overlay(request: pytest.FixtureRequest, rendered: dict[str, Manifests]) -> Manifests:
    """Each overlay in turn."""
    return rendered[request.param]


@pytest.fixture(scope="session")
def dev(rendered: dict[str, Manifests]) -> Manifests:
    return rendered["dev"]


@pytest.fixture(scope="session")
def prod(rendered: dict[str, Manifests]) -> Manifests:
    return rendered["prod"]
