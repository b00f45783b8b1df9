"""`make render`: every overlay and combination of components as YAML, in `.songhe/rendered/`.

Exit codes: 0 done, 1 kustomize refused one, 2 no kubectl.
"""

import shutil
import sys
from pathlib import Path

from deploy.kubectl import MANIFESTS, KubectlFailed, kubectl, program
from devstack.plan import ROOT
from shared.runtime.process.settings import exit_with_sentence

FOLDER = ROOT / ".songhe" / "rendered"
# What is put together here and nowhere else: overlay → further components.
COMBINATIONS = {"dev-with-monitoring": ("overlays/dev", ("components/monitoring",))}
OVERLAYS = ("dev", "prod")


def main(folder: Path = FOLDER) -> int:
    if shutil.which(program()) is None:
        exit_with_sentence("There is no kubectl: install it, or name it in KUBECTL.")
    try:
        for name in render_all(folder):
            sys.stdout.write(f"{folder / name}.yaml\n")
    except KubectlFailed as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def render_all(folder: Path) -> list[str]:
    """The names of what was rendered. Raises KubectlFailed."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = {name: MANIFESTS / "overlays" / name for name in OVERLAYS}
    sources["base"] = MANIFESTS / "base"
    for name, (overlay, components) in COMBINATIONS.items():
        sources[name] = _combination(folder / "combinations" / name, overlay, components)
    for name, source in sources.items():
        (folder / f"{name}.yaml").write_text(kubectl("kustomize", str(source)))
    return list(sources)


def _combination(folder: Path, overlay: str, components: tuple[str, ...]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    # kustomize takes what lies outside of its folder by relative paths only.
    root = Path(*[".."] * len(folder.resolve().relative_to(ROOT).parts)) / "deploy" / "k8s"
    lines = [
        "apiVersion: kustomize.config.k8s.io/v1beta1",
        "kind: Kustomization",
        "namespace: songhe",
        f"resources: [{root / overlay}]",
        f"components: [{', '.join(str(root / component) for component in components)}]",
    ]
    (folder / "kustomization.yaml").write_text("\n".join(lines) + "\n")
    return folder


if __name__ == "__main__":
    sys.exit(main())
