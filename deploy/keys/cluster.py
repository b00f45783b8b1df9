"""Development keys for a cluster: `python -m deploy.keys.cluster` makes the Secrets that the
manifests name, in the namespace of the current kubeconfig's cluster. Existing Secrets stay.
"""

import base64
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.keys.containers import MOUNTED
from deploy.kubectl import MANIFESTS, NAMESPACE, KubectlFailed, kubectl, require_cluster
from devstack.keys import development as keys
from devstack.plan import ROOT
from shared.catalogue import SERVICES

FOLDER = ROOT / ".songhe" / "cluster"

Contents = Mapping[str, bytes]


def main(folder: Path = FOLDER) -> int:
    require_cluster()
    try:
        made, found = create_secrets(folder)
    except KubectlFailed as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{made} Secrets made, {found} were there already.\n")
    return 0


def create_secrets(folder: Path = FOLDER) -> tuple[int, int]:
    """How many Secrets were made and how many were there. Raises KubectlFailed."""
    keys.create_missing(folder)
    kubectl("apply", "-f", str(MANIFESTS / "base" / "namespace.yaml"))
    listed = kubectl("get", "secrets", "-n", NAMESPACE, "-o", "name")
    existing = {line.removeprefix("secret/") for line in listed.split()}
    missing = [
        _secret(name, content) for name, content in secrets(folder).items() if name not in existing
    ]
    if missing:
        items = {"apiVersion": "v1", "kind": "List", "items": missing}
        kubectl("create", "-f", "-", stdin=json.dumps(items))
    return len(missing), len(existing)


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
                secret = f"{service}-{name.replace('/', '-')}"
                found[secret] = {file.name: file.read_bytes() for file in _files(path)}
            else:
                own[name] = path.read_bytes()
        if own:
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


if __name__ == "__main__":
    sys.exit(main())
