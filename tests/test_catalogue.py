"""Whatever names services, processes or images names all those of the catalogue, no others."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest
import yaml

import services
from deploy.images.gather import PARTS
from devstack.keys.development import CALLERS
from devstack.plan import NAMES
from entry.settings import EntrySettings
from shared.catalogue import ENTRY, IMAGES, PROCESSES, SANDBOX, SERVICES, Process, names_of

ROOT = Path(__file__).resolve().parent.parent
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
every_process = pytest.mark.parametrize("process", PROCESSES, ids=lambda process: process.name)
every_image = pytest.mark.parametrize("image", IMAGES)


def test_the_services_are_the_packages_below_services() -> None:
    assert {module.name for module in pkgutil.iter_modules(services.__path__)} == set(SERVICES)


@every_process
def test_a_process_is_a_command_of_its_service(process: Process) -> None:
    main = importlib.import_module(f"services.{process.service}.main")

    assert process.kind in main.COMMANDS.processes


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_no_process_that_the_catalogue_does_not_know(service: str) -> None:
    main = importlib.import_module(f"services.{service}.main")
    known = {process.kind for process in PROCESSES if process.service == service}

    assert set(main.COMMANDS.processes) == known


@every_process
def test_a_relay_is_where_the_catalogue_says(process: Process) -> None:
    folder = ROOT / "services" / process.service
    code = "".join(file.read_text() for file in folder.rglob("*.py") if "tests" not in file.parts)

    has_one = any(one.has_relay for one in PROCESSES if one.service == process.service)
    assert ("Relay(" in code) == has_one


@every_image
def test_every_image_has_its_lock_and_its_parts(image: str) -> None:
    assert image in PARTS
    assert (ROOT / "deploy" / "locks" / f"{image}.lock").is_file()


def test_nothing_has_a_lock_or_parts_that_is_no_image() -> None:
    assert set(PARTS) == set(IMAGES)
    assert {lock.stem for lock in (ROOT / "deploy" / "locks").iterdir()} == set(IMAGES)


def test_make_writes_the_lock_of_every_image() -> None:
    (listed,) = re.findall(r"for image in ([a-z ]+); do", (ROOT / "Makefile").read_text())

    assert tuple(listed.split()) == IMAGES


def test_every_service_gets_its_database_and_its_callers() -> None:
    script = (ROOT / "deploy" / "postgres" / "create-databases.sh").read_text()
    (listed,) = re.findall(r"for service in ([a-z ]+); do", script)

    assert tuple(listed.split()) == SERVICES
    assert tuple(CALLERS) == SERVICES


def test_the_stack_without_docker_runs_every_process() -> None:
    assert {*names_of(), SANDBOX, ENTRY} <= set(NAMES)


@every_process
def test_compose_runs_every_process_from_its_image(process: Process) -> None:
    service = COMPOSE[process.name]

    assert service["image"].startswith(f"songhe/{process.image}:")
    assert f"{process.service}-migrate" in COMPOSE


def test_the_entry_knows_every_service() -> None:
    urls = {name for name in EntrySettings.model_fields if name.endswith("_url")}

    assert urls == {f"entry_{service}_url" for service in SERVICES}


@every_process
def test_kubernetes_runs_every_process(process: Process) -> None:
    """By what all services share, or by a manifest of its own."""
    base = ROOT / "deploy" / "k8s" / "base"
    manifests = [base / folder / f"{process.kind}.yaml" for folder in ("service", process.service)]

    assert any(manifest.is_file() for manifest in manifests)
