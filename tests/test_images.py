"""Each image holds the code that its process imports, and no test and no other service."""

import subprocess
import sys
from pathlib import Path

import pytest

from shared.catalogue import IMAGES, PROCESSES

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(params=IMAGES)
def image(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """The code of one image, gathered as its Dockerfile does."""
    name: str = request.param
    script = ROOT / "deploy" / "images" / "gather.py"
    subprocess.run(
        [sys.executable, script, name, ROOT, tmp_path / "app"],
        env={"PYTHONPATH": str(ROOT)},
        check=True,
        timeout=60,
    )
    return name, tmp_path / "app"


def test_the_process_starts_and_asks_for_its_settings(image: tuple[str, Path]) -> None:
    name, app = image
    # Any process of the image: each asks for its settings first.
    arguments = [process.kind for process in PROCESSES if process.image == name][:1]

    done = subprocess.run(
        [sys.executable, app / "start.py", *arguments],
        cwd=app,
        env={},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2, done.stderr
    assert "SONGHE_" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_neither_tests_nor_other_services_are_in_it(image: tuple[str, Path]) -> None:
    name, app = image
    files = {path.relative_to(app) for path in app.rglob("*") if path.is_file()}

    assert not [path for path in files if "tests" in path.parts or "testing" in path.parts]
    others = {path.parts[1] for path in files if path.parts[0] == "services"} - {"__init__.py"}
    assert others <= {process.service for process in PROCESSES if process.image == name}


@pytest.mark.parametrize("name", IMAGES)
def test_every_lock_pins_the_versions_of_the_project_by_hash(name: str) -> None:
    project = _pinned(ROOT / "requirements.lock")
    lock = ROOT / "deploy" / "locks" / f"{name}.lock"

    assert _pinned(lock) <= project
    assert "--hash=sha256:" in lock.read_text()
    assert "://" not in lock.read_text()


def _pinned(lock: Path) -> set[str]:
    lines = lock.read_text().splitlines()
    return {line.split()[0] for line in lines if "==" in line and not line.startswith((" ", "#"))}
