"""Which processes a stack has, where each listens, and the complete settings of each."""

import http.client
import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from devstack import jars, kafka, postgres, valkey
from devstack.externals import Externals
from devstack.keys import development as keys
from devstack.problems import SettingError
from devstack.processes import Program
from shared.catalogue import ENTRY, SANDBOX, SERVICES, names_of

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
SERVERS = ("postgres", "redis", "kafka")
# Started in this order and stopped in the reverse one; members of one stage go together.
STAGES: tuple[tuple[str, ...], ...] = (
    SERVERS,
    ("sandbox",),
    tuple(names_of()),
    ("entry",),
)
NAMES = tuple(name for stage in STAGES for name in stage)
PORT_NAMES = (
    "entry",
    *names_of("api"),
    "sandbox",
    "postgres",
    "redis",
    "kafka",
    "kafka-controller",
    *(f"{name}-metrics" for name in names_of()),
)
# Who we are at the channels that the sandbox plays: it knows no other merchant.
ALIPAY_APP_ID = "2021000000000001"
ALIPAY_SELLER_ID = "2088000000000001"
WECHATPAY_APP_ID = "wx0000000000000001"
WECHATPAY_MERCHANT_ID = "1900000001"
# What a child inherits from our own environment; everything else it gets is listed below.
INHERITED = ("PATH", "HOME", "USER", "TMPDIR", "SSL_CERT_FILE", "SYSTEMROOT")
PROBE_SECONDS = 2.0


def select(only: Collection[str] | None) -> set[str]:
    """The process names that `only` means: names, services, or `infra`; None means all.

    The three servers always belong to it. Raises SettingError for an unknown name.
    """
    if only is None:
        return set(NAMES)
    selected = set(SERVERS)
    for word in only:
        meant = {name for name in NAMES if name == word or name.startswith(f"{word}-")}
        if word != "infra" and not meant:
            raise SettingError(f"There is no process {word!r}; there are {', '.join(NAMES)}.")
        selected |= meant
    return selected


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The settings of one stack, computed from its state folder, its ports and its externals.

    `overrides` adds settings to every process of a service (`billing`) or to one process
    (`billing-worker`).
    """

    state_dir: Path
    ports: Mapping[str, int]
    externals: Externals
    overrides: Mapping[str, Mapping[str, str]]

    @property
    def keys_dir(self) -> Path:
        return self.state_dir / "keys"

    @property
    def server(self) -> postgres.Server:
        """The PostgreSQL server with its superuser."""
        if self.externals.postgres_url:
            return self.externals.postgres()
        password = keys.password(self.keys_dir, postgres.SUPERUSER)
        return postgres.Server(HOST, self.ports["postgres"], postgres.SUPERUSER, password)

    @property
    def redis_url(self) -> str:
        return self.externals.redis_url or f"redis://{HOST}:{self.ports['redis']}/0"

    @property
    def kafka_bootstrap_servers(self) -> str:
        return self.externals.kafka_bootstrap_servers or f"{HOST}:{self.ports['kafka']}"

    @property
    def role_passwords(self) -> dict[str, str]:
        roles = postgres.role_names(SERVICES)
        return {role: keys.password(self.keys_dir, role) for role in roles}

    @property
    def databases(self) -> dict[str, str]:
        """Service → URL of its database with its own role."""
        passwords = self.role_passwords
        return {
            service: self.server.url(user=role, password=passwords[role], database=role)
            for service, role in zip(SERVICES, postgres.role_names(SERVICES), strict=True)
        }

    @property
    def urls(self) -> dict[str, str]:
        """Where everything listens: scheme, host and port, no path."""
        redis = urlsplit(self.redis_url)
        return {
            **{service: self._http(f"{service}-api") for service in SERVICES},
            "sandbox": self._http("sandbox"),
            "entry": self._http("entry"),
            "kafka": f"kafka://{self.kafka_bootstrap_servers}",
            "postgres": f"postgresql://{self.server.host}:{self.server.port}",
            "redis": f"redis://{redis.hostname}:{redis.port or 6379}",
        }

    @property
    def metrics(self) -> dict[str, str]:
        """Process → where it serves /metrics and /health."""
        return {
            name: self._http(f"{name}-metrics") for name in NAMES if f"{name}-metrics" in self.ports
        }

    def environment_for(self, owner: str, process: str = "") -> dict[str, str]:
        """The complete environment of a process: ("billing", "worker"), ("sandbox"), ("entry")."""
        name = f"{owner}-{process}" if process else owner
        settings = {
            "sandbox": self._sandbox_settings,
            "entry": self._entry_settings,
        }.get(owner, lambda: self._service_settings(owner, process))()
        return {
            **base_environment(),
            **settings,
            **self.overrides.get(owner, {}),
            **self.overrides.get(name, {}),
        }

    def program(self, name: str) -> Program:
        """How to run the process of that name."""
        folder = self.state_dir / name
        if name == "postgres":
            return postgres.program(folder, self.server, environment=base_environment())
        if name == "redis":
            return valkey.program(folder, self.ports["redis"], environment=base_environment())
        if name == "kafka":
            return kafka.program(
                folder,
                self.ports["kafka"],
                self.ports["kafka-controller"],
                jars=[jars.cache_folder() / "jars" / jar.file_name for jar in jars.read_lock()],
                environment=base_environment(),
            )
        return self._python_program(name)

    def _python_program(self, name: str) -> Program:
        owner, _, process = name.partition("-")
        module = owner if owner in (SANDBOX, ENTRY) else f"services.{owner}"
        probe = self.metrics.get(name) or self.urls[name]
        return Program(
            name=name,
            argv=[sys.executable, "-m", module, *([process] if process else [])],
            environment=self.environment_for(owner, process),
            cwd=ROOT,
            is_ready=lambda: is_http_ready(probe),
            ready_seconds=60.0,
            stop_seconds=20.0,
        )

    def _service_settings(self, service: str, process: str) -> dict[str, str]:
        keys_dir = self.keys_dir
        settings = {
            **_common(),
            "SONGHE_DATABASE_URL": self.databases[service].replace("://", "+asyncpg://", 1),
            "SONGHE_KAFKA_BOOTSTRAP_SERVERS": self.kafka_bootstrap_servers,
            "SONGHE_REDIS_URL": self.redis_url,
            "SONGHE_SERVICE_KEY_FILE": str(keys_dir / "services" / f"{service}.pem"),
            "SONGHE_SERVICE_PUBLIC_KEYS_DIR": str(keys_dir / "callers" / service),
            "SONGHE_IDENTITY_URL": self.urls["identity"],
            **self._own_settings(service),
        }
        if f"{service}-{process}" in NAMES:
            settings["SONGHE_METRICS_HOST"] = HOST
            settings["SONGHE_METRICS_PORT"] = str(self.ports[f"{service}-{process}-metrics"])
        if process == "api":
            settings["SONGHE_HTTP_HOST"] = HOST
            settings["SONGHE_HTTP_PORT"] = str(self.ports[f"{service}-api"])
        return settings

    def _own_settings(self, service: str) -> dict[str, str]:
        keys_dir, sandbox = self.keys_dir, self.urls["sandbox"]
        own: dict[str, dict[str, str]] = {
            "identity": {
                "SONGHE_ACCESS_TOKEN_KEYS_DIR": str(keys_dir / "access-tokens"),
                "SONGHE_PHONE_ENCRYPTION_KEYS_DIR": str(keys_dir / "phone-encryption"),
                "SONGHE_PHONE_INDEX_KEY_FILE": str(keys_dir / "phone-index.key"),
                "SONGHE_SMS_CODE_KEY_FILE": str(keys_dir / "sms-code.key"),
                "SONGHE_SMS_URL": sandbox,
                # Everybody who tries this stack has the same address.
                "SONGHE_SMS_PER_ADDRESS_HOURLY_MAX": "1000",
            },
            "billing": {},
            "payment": self._channel_settings(),
            "notifier": {
                "SONGHE_SMS_URL": sandbox,
                "SONGHE_CONTACT_CACHE_KEY_FILE": str(keys_dir / "contact-cache.key"),
            },
        }
        return own[service]

    def _channel_settings(self) -> dict[str, str]:
        keys_dir, sandbox, entry = (
            self.keys_dir / "channels",
            self.urls["sandbox"],
            self._http("entry"),
        )
        return {
            "SONGHE_ALIPAY_URL": sandbox,
            "SONGHE_ALIPAY_APP_ID": ALIPAY_APP_ID,
            "SONGHE_ALIPAY_SELLER_ID": ALIPAY_SELLER_ID,
            "SONGHE_ALIPAY_KEYS_DIR": str(keys_dir / "alipay"),
            "SONGHE_WECHATPAY_URL": sandbox,
            "SONGHE_WECHATPAY_APP_ID": WECHATPAY_APP_ID,
            "SONGHE_WECHATPAY_MERCHANT_ID": WECHATPAY_MERCHANT_ID,
            "SONGHE_WECHATPAY_KEYS_DIR": str(keys_dir / "wechatpay"),
            "SONGHE_BANK_URL": sandbox,
            # Nobody waits a day for a demonstration, or until the morning.
            "SONGHE_BANK_NOTICE_SECONDS": "0",
            "SONGHE_BANK_HOURS": "00:00-24:00",
            # As in production, a channel's notification comes through the entry.
            "SONGHE_PAYMENT_CALLBACK_BASE_URL": entry,
            "SONGHE_PAYMENT_RETURN_BASE_URL": entry,
        }

    def _sandbox_settings(self) -> dict[str, str]:
        return {
            **_common(),
            "SONGHE_LOG_LEVEL": _log_level().lower(),
            "SONGHE_SANDBOX_HTTP_HOST": HOST,
            "SONGHE_SANDBOX_HTTP_PORT": str(self.ports["sandbox"]),
            "SONGHE_SANDBOX_DATA_DIR": str(self.state_dir / "sandbox"),
            "SONGHE_SANDBOX_SEED": os.environ.get("SONGHE_SANDBOX_SEED", "1"),
            "SONGHE_SANDBOX_PUBLIC_URL": self.urls["sandbox"],
            "SONGHE_SANDBOX_CHANNEL_KEYS_DIR": str(self.keys_dir / "channels" / "sandbox"),
        }

    def _entry_settings(self) -> dict[str, str]:
        return {
            **_common(),
            "SONGHE_ENTRY_HTTP_HOST": HOST,
            "SONGHE_ENTRY_HTTP_PORT": str(self.ports["entry"]),
            **{f"SONGHE_ENTRY_{s.upper()}_URL": self.urls[s] for s in SERVICES},
        }

    def _http(self, port_name: str) -> str:
        return f"http://{HOST}:{self.ports[port_name]}"


def is_http_ready(base_url: str) -> bool:
    """Whether GET /health/ready answers 200."""
    parts = urlsplit(base_url)
    connection = http.client.HTTPConnection(
        parts.hostname or HOST, parts.port, timeout=PROBE_SECONDS
    )
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def base_environment() -> dict[str, str]:
    """What every process needs from the system it runs on, and nothing of its settings."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {
        "PATH": os.defpath,
        **inherited,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONUNBUFFERED": "1",
        # Each of the ten Python processes would otherwise keep an arena per thread
        "MALLOC_ARENA_MAX": "2",
    }


def _common() -> dict[str, str]:
    return {
        "SONGHE_ENVIRONMENT": "development",
        "SONGHE_LOG_LEVEL": _log_level(),
    }


def _log_level() -> str:
    return os.environ.get("SONGHE_LOG_LEVEL", "INFO").upper()
