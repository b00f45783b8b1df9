"""Settings are environment variables `SONGHE_…`; a wrong one is one sentence and exit code 2.

No message ever repeats a value: values may be secrets.
"""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple, NoReturn, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.runtime.ground import crash_points
from shared.runtime.http.client_address import LOOPBACK, Network, parse_networks
from shared.runtime.keys.key_files import (
    KeyFileError,
    is_made_for_development,
    parse_public_keys,
    parse_secret,
    parse_signing_key,
    read_folder,
    read_secret,
    read_signing_key,
)

ENV_PREFIX = "SONGHE_"
EXIT_WRONG_USE = 2
PLACEHOLDERS = ("change", "example", "placeholder", "secret", "password", "postgres", "admin")
# How the passwords begin that development tools make.
DEVELOPMENT_PASSWORD_PREFIX = "development-"  # pragma: allowlist secret


class SettingsError(Exception):
    """One sentence that names the variable that is wrong or missing."""


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int


def _database_url(value: SecretStr) -> SecretStr:
    scheme = urlsplit(value.get_secret_value()).scheme
    if scheme not in ("postgresql+asyncpg", "postgresql+psycopg"):
        raise ValueError("must start with postgresql+asyncpg:// or postgresql+psycopg://")
    return value


def _redis_url(value: SecretStr) -> SecretStr:
    if urlsplit(value.get_secret_value()).scheme not in ("redis", "rediss"):
        raise ValueError("must start with redis:// or rediss://")
    return value


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http:// or https:// address")
    return value.rstrip("/")


def _crash_at(value: str) -> str:
    crash_points.parse(value)
    return value


def _key_file(path: Path) -> Path:
    read_secret(path)
    return path


def _key_folder(path: Path) -> Path:
    files = _some(path, "*.key")
    for name, content in files.items():
        parse_secret(content, name=f"{path}/{name}.key")
    return path


def _signing_key_file(path: Path) -> Path:
    read_signing_key(path)
    return path


def _signing_key_folder(path: Path) -> Path:
    for name, content in _some(path, "*.pem").items():
        parse_signing_key(content, name=f"{path}/{name}.pem")
    return path


def _public_key_folder(path: Path) -> Path:
    for name, content in read_folder(path, "*.pem").items():
        parse_public_keys(content, name=f"{path}/{name}.pem")
    return path


def _some(path: Path, pattern: str) -> dict[str, bytes]:
    files = read_folder(path, pattern)
    if not files:
        raise KeyFileError(f"{path} holds no {pattern}")
    return files


def _readable(check: Callable[[Path], Path]) -> AfterValidator:
    def validate(path: Path) -> Path:
        try:
            return check(path)
        except KeyFileError as error:
            raise ValueError(str(error)) from None

    return AfterValidator(validate)


DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Port = Annotated[int, Field(ge=0, le=65535)]
KeyFile = Annotated[Path, _readable(_key_file)]
KeyFolder = Annotated[Path, _readable(_key_folder)]
SigningKeyFile = Annotated[Path, _readable(_signing_key_file)]
SigningKeyFolder = Annotated[Path, _readable(_signing_key_folder)]
PublicKeyFolder = Annotated[Path, _readable(_public_key_folder)]


def check_networks(value: str) -> str:
    """The text of a setting with networks. Raises ValueError."""
    parse_networks(value)
    return value


class ServiceSettings(BaseSettings):
    """What every process of a service needs; each service adds its own in `settings.py`.

    A subclass lists in `https_in_production` the addresses that must not be plain http there,
    and adds sentences of its own in `production_faults`.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True
    )
    https_in_production: ClassVar[tuple[str, ...]] = ()

    # Whoever forgets it gets the strict side.
    environment: Literal["development", "production"] = "production"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    revision: str = "unknown"
    database_url: DatabaseUrl
    kafka_bootstrap_servers: Annotated[str, Field(pattern=r"^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$")]
    kafka_replication_factor: Annotated[int, Field(ge=1, le=9)] = 1
    http_host: str = "127.0.0.1"
    http_port: Port | None = None
    metrics_host: str = "127.0.0.1"
    metrics_port: Port | None = None
    shutdown_grace_seconds: Annotated[float, Field(gt=0, le=120)] = 10.0
    # For crash tests only: die by SIGKILL at this place and pass, such as `relay.before_send:3`.
    crash_at: Annotated[str, AfterValidator(_crash_at)] | None = None

    def http_address(self) -> Address:
        """Raises SettingsError where the port is not set: only `api` needs one."""
        return Address(self.http_host, _required(self.http_port, "http_port"))

    def metrics_address(self) -> Address:
        """Raises SettingsError where the port is not set: one-shot commands need none."""
        return Address(self.metrics_host, _required(self.metrics_port, "metrics_port"))

    def production_faults(self) -> Iterable[str]:
        """Sentences about what must not be so in production, each naming its variable."""
        for name, value in self:
            if isinstance(value, SecretStr):
                yield from _password_faults(variable(name), value)
            elif isinstance(value, Path) and is_made_for_development(value):
                yield f"{variable(name)} holds a key that was made for development."
        if self.crash_at is not None:
            yield f"{variable('crash_at')} must not be set in production: it kills the process."
        for name in self.https_in_production:
            if not str(getattr(self, name)).startswith("https://"):
                yield f"{variable(name)} must be an https:// address in production."


class ProxiedSettings(ServiceSettings):
    """What an API needs that must know from where its callers come."""

    # Proxies whose X-Forwarded-For is believed; in development those on this machine.
    trusted_proxies: Annotated[str, AfterValidator(check_networks)] | None = None

    @property
    def trusted_networks(self) -> list[Network]:
        if self.trusted_proxies is None:
            return parse_networks(LOOPBACK if self.environment == "development" else "")
        return parse_networks(self.trusted_proxies)

    def production_faults(self) -> Iterable[str]:
        yield from super().production_faults()
        if self.trusted_proxies is None:
            # Without it everybody behind the entry would have the entry's address.
            yield f"{variable('trusted_proxies')} must be set in production, if only to nothing."


def _password_faults(name: str, url: SecretStr) -> Iterable[str]:
    password = (urlsplit(url.get_secret_value()).password or "").lower()
    if password.startswith(DEVELOPMENT_PASSWORD_PREFIX):
        yield f"{name} holds a password that was made for development."
    elif any(word in password for word in PLACEHOLDERS):
        yield f"{name} holds a placeholder password."


Settings = TypeVar("Settings", bound=BaseSettings)


def load_settings(settings_class: type[Settings]) -> Settings:
    """Read the environment; where it is wrong: one sentence on stderr and exit code 2."""
    try:
        return read_settings(settings_class)
    except SettingsError as error:
        exit_with_sentence(str(error))


def read_settings(settings_class: type[Settings]) -> Settings:
    """Read the environment; raises SettingsError with one sentence."""
    try:
        settings = settings_class()
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from None
    if isinstance(settings, ServiceSettings) and settings.environment == "production":
        faults = list(settings.production_faults())
        if faults:
            raise SettingsError(" ".join(faults))
    return settings


def variable(field: str) -> str:
    """The environment variable of a field: `http_port` → `SONGHE_HTTP_PORT`."""
    return f"{ENV_PREFIX}{field.upper()}"


def exit_with_sentence(sentence: str) -> NoReturn:
    """For wrong use and wrong settings: the sentence on stderr, exit code 2."""
    sys.stderr.write(sentence + os.linesep)
    raise SystemExit(EXIT_WRONG_USE)


def _required(port: int | None, field: str) -> int:
    if port is None:
        raise SettingsError(f"{variable(field)} is missing.")
    return port


def _sentence(error: ValidationError) -> str:
    missing, wrong = [], []
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        name = variable(str(fault["loc"][0])) if fault["loc"] else "the settings"
        if fault["type"] == "missing":
            missing.append(name)
        else:
            reason = fault["msg"].removeprefix("Value error, ")
            wrong.append(f"{name} is wrong ({reason})")
    if missing:
        wrong.insert(0, f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    return "; ".join(wrong) + "."
