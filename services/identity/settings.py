"""Settings of identity; keys come from files. Only the API knows keys, Redis and the gateway."""

from collections.abc import Iterable
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from shared.runtime.settings import (
    HttpUrl,
    KeyFile,
    KeyFolder,
    PublicKeyFolder,
    RedisUrl,
    ServiceSettings,
    SigningKeyFolder,
    variable,
)

LOOPBACK = "127.0.0.0/8,::1"
COUNTS = r"^[0-9]{1,3}(,[0-9]{1,3})*$"


def _networks(value: str | None) -> str | None:
    _parse_networks(value or "")
    return value


class IdentitySettings(ServiceSettings):
    """What every process and command needs."""

    session_idle_days: Annotated[int, Field(ge=1, le=365)] = 30

    @property
    def session_idle(self) -> timedelta:
        """A session that is not refreshed for so long is over."""
        return timedelta(days=self.session_idle_days)


class ApiSettings(IdentitySettings):
    """What only the API needs."""

    https_in_production: ClassVar[tuple[str, ...]] = ("sms_url",)

    redis_url: RedisUrl
    access_token_keys_dir: SigningKeyFolder
    phone_encryption_keys_dir: KeyFolder
    phone_index_key_file: KeyFile
    sms_code_key_file: KeyFile
    service_public_keys_dir: PublicKeyFolder
    sms_url: HttpUrl
    # Countries by calling code; each one more is an invitation to toll fraud.
    sms_calling_codes: Annotated[str, Field(pattern=COUNTS)] = "86"
    sms_per_address_hourly_max: Annotated[int, Field(ge=1, le=100_000)] = 15
    sms_daily_max: Annotated[int, Field(ge=0, le=100_000_000)] = 20_000
    # Proxies whose X-Forwarded-For is believed; in development those on this machine.
    trusted_proxies: Annotated[str | None, AfterValidator(_networks)] = None

    @property
    def calling_codes(self) -> frozenset[int]:
        return frozenset(int(code) for code in self.sms_calling_codes.split(","))

    @property
    def trusted_networks(self) -> list[IPv4Network | IPv6Network]:
        if self.trusted_proxies is None:
            return _parse_networks(LOOPBACK if self.environment == "development" else "")
        return _parse_networks(self.trusted_proxies)

    def production_faults(self) -> Iterable[str]:
        yield from super().production_faults()
        if self.trusted_proxies is None:
            # Without it everybody behind the entry would share one budget for SMS.
            yield f"{variable('trusted_proxies')} must be set in production, if only to nothing."


def _parse_networks(value: str) -> list[IPv4Network | IPv6Network]:
    return [ip_network(part.strip()) for part in value.split(",") if part.strip()]
