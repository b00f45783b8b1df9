"""Copies what one image needs into a folder: `gather.py <service> <source> <target>`.

Tests and the code of other services stay out, so that an image holds what it runs.
"""

import shutil
import sys
from pathlib import Path

SERVICES = ("identity", "billing", "payment", "notifier")
# Image → the module that is run, and the folders or files that it needs.
PARTS: dict[str, tuple[str, tuple[str, ...]]] = {
    **{
        name: (f"services.{name}", ("shared", "services/__init__.py", f"services/{name}"))
        for name in SERVICES
    },
    "sandbox": ("sandbox", ("shared/__init__.py", "shared/kernel", "sandbox")),
    "entry": ("entry", ("shared/__init__.py", "shared/kernel", "shared/runtime", "entry")),
}
LEFT_OUT = shutil.ignore_patterns("tests", "testing", "__pycache__", "*.md")
START = """\"\"\"Runs this image's module with the arguments of the container.\"\"\"

import runpy

runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""


def main(service: str, source: Path, target: Path) -> None:
    module, parts = PARTS[service]
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
