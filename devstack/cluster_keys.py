"""Development keys for a cluster: `python -m devstack.cluster_keys` makes the Secrets that the
manifests name, in the namespace of the current kubeconfig's cluster. Existing Secrets stay.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from devstack import keys
from devstack.container_keys import MOUNTED
from devstack.plan import ROOT, SERVICES
from shared.runtime.settings import exit_with_sentence

NAMESPACE = "songhe"
NAMESPACE_FILE = ROOT / "deploy" / "k8s" / "base" / "namespace.yaml"
FOLDER = ROOT / ".songhe" / "cluster"
KUBECTL_SECONDS = 60.0

Contents = Mapping[str, bytes]


def main(folder: Path = FOLDER) -> int:
    keys.create_missing(folder)
    _require_cluster()
    _kubectl("apply", "-f", str(NAMESPACE_FILE))
    listed = _kubectl("get", "secrets", "-n", NAMESPACE, "-o", "name")
    existing = {line.removeprefix("secret/") for line in listed.split()}
    missing = [
        _secret(name, content) for name, content in secrets(folder).items() if name not in existing
    ]
    if missing:
        items = {"apiVersion": "v1", "kind": "List", "items": missing}
        _kubectl("create", "-f", "-", stdin=json.dumps(items))
    sys.stdout.write(f"{len(missing)} Secrets made, {len(existing)} were there already.\n")
    return 0


def secrets(folder: Path) -> dict[str, Contents]:
    """Every Secret of the dev overlay by name, from the keys in `folder`."""
    passwords = {name: keys.password(folder, name) for name in ("postgres", "redis", *SERVICES)}
    redis = passwords["redis"]
    found: dict[str, Contents] = {
        "postgres": {
            f"{name.upper()}_PASSWORD": passwords[name].encode() for name in ("postgres", *SERVICES)
        },
        "redis": {"url": f"redis://:{redis}@redis:6379/0".encode()},
        "redis-settings": {"redis.conf": _redis_settings(redis)},
    }
    for service in SERVICES:
        role = f"songhe_{service}"
        url = f"postgresql+asyncpg://{role}:{passwords[service]}@postgres:5432/{role}"
        found[f"{service}-database"] = {"url": url.encode()}
    for service, parts in MOUNTED.items():
        own: dict[str, bytes] = {}
        for name, origin in parts.items():
            path = folder / origin
            if path.is_dir():
                found[f"{service}-{name}"] = {file.name: file.read_bytes() for file in _files(path)}
            else:
                own[name] = path.read_bytes()
        found[f"{service}-own"] = own
    return found


def _redis_settings(password: str) -> bytes:
    lines = ('save ""', "appendonly no", "maxmemory 64mb", f"requirepass {password}")
    return ("\n".join(lines) + "\n").encode()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _secret(name: str, content: Contents) -> dict[str, object]:
    data = {key: base64.b64encode(value).decode() for key, value in content.items()}
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def _require_cluster() -> None:
    if shutil.which(_program()) is None:
        exit_with_sentence("There is no kubectl: install it, or name it in KUBECTL.")
    asked = subprocess.run(
        [_program(), "get", "--raw", "/readyz", "--request-timeout=5s"],
        capture_output=True,
        timeout=KUBECTL_SECONDS,
        check=False,
    )
    if asked.returncode != 0:
        exit_with_sentence("No cluster answers: set KUBECONFIG to the one that you mean.")


def _kubectl(*arguments: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        [_program(), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=KUBECTL_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        sys.stderr.write(done.stderr)
        raise SystemExit(1)
    return done.stdout


def _program() -> str:
    return os.environ.get("KUBECTL") or "kubectl"


if __name__ == "__main__":
    sys.exit(main())
