"""The import rules of `.importlinter`: kept by the tree, and red as soon as one is broken."""

import re
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


@pytest.fixture
def copied_tree(tmp_path: Path) -> Path:
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            copy = tmp_path / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    shutil.copyfile(ROOT / ".importlinter", tmp_path / ".importlinter")
    return tmp_path


def test_the_tree_keeps_every_import_rule() -> None:
    done = lint_imports(ROOT)

    assert done.returncode == 0, done.stdout


def test_every_planted_import_is_found_by_its_rule(copied_tree: Path) -> None:
    """All at once: reading the tree takes longer than judging it."""
    for number, (folder, line, _rule) in enumerate(PLANTED):
        (copied_tree / folder / f"planted_{number}_.py").write_text(f"{line}\n")

    found = broken_rules(copied_tree)

    overlooked = [
        planted
        for number, planted in enumerate(PLANTED)
        if not any(
            name.startswith(planted[2]) and f"planted_{number}_" in text
            for name, text in found.items()
        )
    ]
    assert overlooked == [], found


def test_a_planted_circle_is_found(copied_tree: Path) -> None:
    """Packages are named there, not the files in them."""
    planted = copied_tree / "services/payment/adapters/postgres/planted.py"
    planted.write_text("import services.payment.adapters.http.api\n")

    found = broken_rules(copied_tree)

    circles = [text for name, text in found.items() if name.startswith("No package imports")]
    assert "- .postgres -> .http" in "".join(circles), found


def broken_rules(tree: Path) -> dict[str, str]:
    """What is printed about each rule that is broken, by the name of the rule."""
    done = lint_imports(tree)
    assert done.returncode == 1, done.stdout + done.stderr
    _, _, details = done.stdout.partition("\nBroken contracts\n")
    # Each rule's part begins with its name, underlined.
    parts = re.split(r"^(.+)\n-{4,}$", details, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))
