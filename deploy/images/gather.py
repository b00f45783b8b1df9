"""Copies what one image needs into a folder: `gather.py <image> <source> <target>`.

Tests and the code of other services stay out, so that an image holds what it runs.
"""

import shutil
import sys
from pathlib import Path

from shared.catalogue import ENTRY, PROCESSES, SANDBOX

# Image → the module that is run, and the folders or files that it needs.
PARTS: dict[str, tuple[str, tuple[str, ...]]] = {
    **{
        process.image: (
            f"services.{process.service}",
            ("shared", "services/__init__.py", f"services/{process.service}"),
        )
        for process in PROCESSES
    },
    SANDBOX: ("sandbox", ("shared/__init__.py", "shared/kernel", "sandbox")),
    ENTRY: (
        "entry",
        ("shared/__init__.py", "shared/catalogue.py", "shared/kernel", "shared/runtime", "entry"),
    ),
}
LEFT_OUT = shutil.ignore_patterns("tests", "testing", "__pycache__", "*.md")
START = """\"\"\"Runs this image's module with the arguments of the container.\"\"\"

import runpy

runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""


def main(image: str, source: Path, target: Path) -> None:
    module, parts = PARTS[image]
    for part in parts:
        origin, copy = source / part, target / part
        copy.parent.mkdir(parents=True, exist_ok=True)
        if origin.is_dir():
            shutil.copytree(origin, copy, ignore=LEFT_OUT)
        else:
            shutil.copy(origin, copy)
    (target / "start.py").write_text(START.format(module=module))
    shutil.copy(source / "deploy" / "images" / "probe.py", target)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
