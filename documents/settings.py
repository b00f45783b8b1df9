"""The settings table in each service's README and in docs/operations.md, from the classes.

What a setting is for is the comment above its field, or the entry here for the common ones.
"""

import importlib
import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import AfterValidator
from pydantic.fields import FieldInfo

from documents.markers import replace_between, table
from documents.services import service_names
from shared.runtime.process import settings as runtime
from shared.runtime.process.settings import ServiceSettings, variable

OPERATIONS = Path("docs") / "operations.md"
PURPOSES = {
    "environment": "In production the settings are checked more strictly",
    "log_level": "What is logged at least",
    "revision": "Which build this is, for the metric `songhe_build_info`",
    "database_url": "The service's own database, with its own role",
    "kafka_bootstrap_servers": "The brokers",
    "http_host": "Where the API listens",
    "http_port": "Needed by `api` only",
    "metrics_host": "Where metrics and health are served",
    "metrics_port": "Needed by `api` and `worker`",
    "shutdown_grace_seconds": "After SIGTERM this long until what still runs is cut off",
    "kafka_replication_factor": "How many brokers keep each topic; used when topics are created",
    "redis_url": "What may vanish: codes, caches, limits, tickets",
    "identity_url": "Where identity answers other services",
    "service_key_file": "Our own key for service tokens",  # pragma: allowlist secret
    "service_public_keys_dir": "Callers whose service tokens are accepted",
    "sms_url": "The SMS gateway",
    "sms_per_address_hourly_max": "Codes per client address and hour",
    "sms_daily_max": "Codes for all phones together per day; 0 stops sending",
    "session_idle_days": "A session that is not refreshed for so long is over",
    "access_token_keys_dir": "The file name is the `kid`; the last in name order signs",
    "phone_encryption_keys_dir": "The file name is the key id; the last in name order encrypts",
    "phone_index_key_file": "For looking phones up without decrypting them",
    "sms_code_key_file": "For keeping one-time codes as HMACs",
    "contact_cache_key_file": "For keeping contacts encrypted in Redis",
    "billing_ask_cap_seconds": "The longest pause between two questions",
    "billing_order_lifetime_seconds": "An order that is not paid by then expires at the channel",
}
KINDS = (
    (runtime.DatabaseUrl, "`postgresql+asyncpg://…` or `postgresql+psycopg://…`"),
    (runtime.RedisUrl, "`redis://…`"),
    (runtime.HttpUrl, "`http(s)://…`"),
    (runtime.KeyFile, "file: base64 of 32 bytes"),
    (runtime.KeyFolder, "folder of `*.key`: base64 of 32 bytes each"),
    (runtime.SigningKeyFile, "file: ES256 private key, PEM"),
    (runtime.SigningKeyFolder, "folder of `*.pem`: ES256 private keys"),
    (runtime.PublicKeyFolder, "folder of `<caller>.pem`: public keys"),
)
NAMES = {str: "text", int: "number", float: "number", bool: "`true` or `false`", Path: "path"}


def documents(root: Path) -> dict[Path, str]:
    """Each service's README with its table."""
    found = {}
    for service in service_names():
        path = Path("services") / service / "README.md"
        if not (root / path).exists():
            continue  # a service that is just being begun
        found[path] = replace_between((root / path).read_text(), "settings", _table(service))
    if (root / OPERATIONS).exists():
        found[OPERATIONS] = replace_between(
            (root / OPERATIONS).read_text(), "settings", _table_of_all()
        )
    return found


def settings_of(service: str) -> dict[str, type[ServiceSettings]]:
    """Field → the most general class of the service's `settings.py` that has it."""
    found: dict[str, type[ServiceSettings]] = {}
    for owner in _classes_of(service):
        for name in owner.model_fields:
            found.setdefault(name, owner)
    return found


def _classes_of(service: str) -> list[type[ServiceSettings]]:
    """The settings classes of a service, the general one first."""
    module = importlib.import_module(f"services.{service}.settings")
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, ServiceSettings)
        and value.__module__ == module.__name__
    ]
    return sorted(classes, key=lambda cls: len(cls.__mro__))


def _table(service: str) -> str:
    rows = [
        (
            f"`{variable(name)}`",
            _users(name, service),
            _kind(owner.model_fields[name]),
            _default(owner.model_fields[name]),
            purpose(owner, name),
        )
        for name, owner in settings_of(service).items()
    ]
    return table(("setting", "needed by", "is", "default", "what for"), rows)


def _table_of_all() -> str:
    """Every setting once, with the processes of every service that need it."""
    users: dict[str, list[str]] = {}
    owners: dict[str, type[ServiceSettings]] = {}
    for service in service_names():
        for name, owner in settings_of(service).items():
            owners.setdefault(name, owner)
            processes = _users(name, service)
            who = service if processes == "all" else f"{service} ({processes})"
            users.setdefault(name, []).append(who)
    rows = [
        (
            f"`{variable(name)}`",
            "all" if users[name] == service_names() else ", ".join(users[name]),
            _kind(owner.model_fields[name]),
            _default(owner.model_fields[name]),
            purpose(owner, name),
        )
        for name, owner in owners.items()
    ]
    return table(("setting", "who", "is", "default", "what for"), rows)


def _users(field: str, service: str) -> str:
    """`ApiSettings` → api; what the class named after the service has, every process needs.

    Between the two a class may hold what some processes share; no process has its name.
    """
    classes = _classes_of(service)
    owners = {
        owner.__name__.removesuffix("Settings").lower(): owner
        for owner in classes
        if field in owner.model_fields
    }
    if service in owners:
        return "all"
    return ", ".join(name for name, owner in owners.items() if not _has_heirs(owner, classes))


def _has_heirs(owner: type, classes: Sequence[type]) -> bool:
    return any(issubclass(other, owner) for other in classes if other is not owner)


def _kind(field: FieldInfo) -> str:
    kind, metadata = _unwrapped(field)
    for alias, words in KINDS:
        if any(isinstance(part, AfterValidator) and part in metadata for part in _parts(alias)):
            return words
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    return NAMES.get(kind, "text") + _bounds(metadata)


def _bounds(metadata: Sequence[Any]) -> str:
    low: list[Any] = [part.ge for part in metadata if isinstance(part, Ge)]
    low += [part.gt for part in metadata if isinstance(part, Gt)]
    high = [part.le for part in metadata if isinstance(part, Le)]
    return f", {low[0]} … {high[0]}" if low and high else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    return "–" if field.default is None else f"`{field.default}`"


def purpose(owner: type[ServiceSettings], name: str) -> str:
    """What a setting is for, in words; empty where nobody wrote it down."""
    return PURPOSES.get(name) or _comment(owner, name)


def _comment(owner: type[Any], name: str) -> str:
    """The comment lines directly above a field, in the class that declares it."""
    declaring = next(cls for cls in owner.__mro__ if name in inspect.get_annotations(cls))
    lines = [line.strip() for line in inspect.getsource(declaring).splitlines()]
    at = next(n for n, line in enumerate(lines) if re.match(rf"{name}\s*:", line))
    comment: list[str] = []
    while lines[at - 1].startswith("#"):
        at -= 1
        comment.insert(0, lines[at].removeprefix("#").strip())
    return " ".join(comment)


def _unwrapped(field: FieldInfo) -> tuple[Any, Sequence[Any]]:
    """The type and its rules; those of an optional setting lie one level deeper."""
    inner = [kind for kind in get_args(field.annotation) if kind is not type(None)]
    if get_origin(field.annotation) is Literal or len(inner) != 1:
        return field.annotation, field.metadata
    if get_origin(inner[0]) is not Annotated:
        return inner[0], field.metadata
    return get_args(inner[0])[0], (*field.metadata, *_parts(inner[0]))


def _parts(alias: Any) -> tuple[Any, ...]:
    return getattr(alias, "__metadata__", ())
