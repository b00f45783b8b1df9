"""Development keys for containers: `python -m deploy.keys.containers` fills `.songhe/compose/`.

Existing keys stay. The folder is open to its owner only; the files in it are readable, because the
processes in the containers run under another user id.
"""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from devstack.keys import development as keys
from devstack.plan import ROOT
from shared.catalogue import SERVICES

FOLDER = ROOT / ".songhe" / "compose"
HOST = "postgres:5432"
# Service → what lies in the folder that its containers see as /keys, and where it comes from.
MOUNTED: Mapping[str, Mapping[str, str]] = {
    "identity": {
        "access-tokens": "access-tokens",
        "phone-encryption": "phone-encryption",
        "phone-index.key": "phone-index.key",
        "sms-code.key": "sms-code.key",
        "callers": "callers/identity",
    },
    "payment": {
        "alipay/app": "channels/alipay/app",
        "alipay/platform": "channels/alipay/platform",
        "wechatpay/merchant": "channels/wechatpay/merchant",
        "wechatpay/platform": "channels/wechatpay/platform",
        "wechatpay/apiv3": "channels/wechatpay/apiv3",
    },
    "sandbox": {
        "alipay/app": "channels/sandbox/alipay/app",
        "alipay/platform": "channels/sandbox/alipay/platform",
        "wechatpay/merchant": "channels/sandbox/wechatpay/merchant",
        "wechatpay/platform": "channels/sandbox/wechatpay/platform",
        "wechatpay/apiv3": "channels/sandbox/wechatpay/apiv3",
    },
    "notifier": {
        "notifier.pem": "services/notifier.pem",
        "contact-cache.key": "contact-cache.key",
    },
}


def main(folder: Path = FOLDER) -> int:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    made = folder / "made"
    keys.create_missing(made)
    for service, parts in MOUNTED.items():
        for name, origin in parts.items():
            _copy(made / origin, folder / service / name)
    _write_environments(folder, made)
    sys.stdout.write(f"Keys for containers are in {folder}.\n")
    return 0


def _copy(origin: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    if origin.is_dir():
        shutil.copytree(origin, target, dirs_exist_ok=True)
        target.chmod(0o755)
    else:
        shutil.copyfile(origin, target)
    for file in [target, *target.rglob("*")]:
        file.chmod(0o755 if file.is_dir() else 0o644)


def _write_environments(folder: Path, made: Path) -> None:
    passwords = {name: keys.password(made, name) for name in ("postgres", *SERVICES)}
    lines = [f"POSTGRES_PASSWORD={passwords['postgres']}"]
    lines += [f"{service.upper()}_PASSWORD={passwords[service]}" for service in SERVICES]
    _write(folder / "postgres.env", lines)
    for service in SERVICES:
        role = f"songhe_{service}"
        url = f"postgresql+asyncpg://{role}:{passwords[service]}@{HOST}/{role}"
        _write(folder / f"{service}.env", [f"SONGHE_DATABASE_URL={url}"])


def _write(path: Path, lines: list[str]) -> None:
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
