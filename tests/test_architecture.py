"""The import rules of `.importlinter`: kept by the tree, and red as soon as one is broken."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    *("shared", "services", "sandbox", "entry", "devstack"),
    *("deploy", "testing", "documents", "bench", "tests"),
)
DEADLINE_SECONDS = 60

PLANTED = [
    ("shared/kernel", "import sqlalchemy", "The kernel imports"),
    ("shared/kernel", "from shared.runtime import database", "The kernel imports"),
    ("shared/runtime", "from services.billing import domain", "Shared is the ground"),
    ("shared/runtime", "import devstack.stack", "Shared is the ground"),
    ("services/billing/adapters", "from services.payment import domain", "Services do not import"),
    ("services/billing/domain", "from services.billing import adapters", "main > adapters"),
    ("services/notifier/application", "from services.notifier import adapters", "main > adapters"),
    ("services/payment/application", "import fastapi", "Domain and application"),
    ("services/identity/domain", "from shared.runtime import database", "Domain and application"),
    ("services/identity/adapters", "import testing.builders", "What runs in production"),
    ("services/billing/adapters/postgres", "from sqlalchemy import text", "SQLAlchemy is for"),
    ("sandbox", "from services.identity import domain", "The sandbox, the entry and"),
    ("devstack", "from services.identity import domain", "The sandbox, the entry and"),
    ("shared/runtime", "import documents.generate", "Shared is the ground"),
    ("shared/runtime/ground", "import shared.runtime.process.health", "Shelves of the runtime"),
    ("devstack", "import testing.builders", "Each floor"),
    ("testing", "import bench.sweep", "Each floor"),
    ("testing", "import tests.crash.run", "Nothing imports the tests"),
]


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def copied_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            copy = root / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    shutil.copyfile(ROOT / ".importlinter", root / ".importlinter")
    return root


def test_the_tree_keeps_every_import_rule() -> None:
    done = lint_imports(ROOT)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("folder", "line", "rule"), PLANTED)
def test_a_planted_import_is_found(copied_tree: Path, folder: str, line: str, rule: str) -> None:
    assert "planted" in broken_rule(copied_tree, folder, line, rule)


def test_a_planted_circle_is_found(copied_tree: Path) -> None:
    """Packages are named there, not the files in them."""
    folder, line = "services/payment/adapters/postgres", "import services.payment.adapters.http.api"

    assert "- .postgres -> .http" in broken_rule(copied_tree, folder, line, "No package imports")


def broken_rule(tree: Path, folder: str, line: str, rule: str) -> str:
    """What is printed about `line` in a file of `folder`, once `rule` was found broken."""
    planted = tree / folder / "planted.py"
    planted.write_text(f"{line}\n")
    try:
        done = lint_imports(tree)
    finally:
        planted.unlink()
    broken = [text for text in done.stdout.splitlines() if " BROKEN" in text]
    assert done.returncode == 1, done.stdout + done.stderr
    assert any(text.startswith(rule) for text in broken), done.stdout
    return done.stdout
