"""Settings of identity; keys come from files. Only the API knows keys, Redis and the gateway."""

from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field

from shared.runtime.process.settings import (
    HttpUrl,
    KeyFile,
    KeyFolder,
    ProxiedSettings,
    PublicKeyFolder,
    RedisUrl,
    ServiceSettings,
    SigningKeyFolder,
)

COUNTS = r"^[0-9]{1,3}(,[0-9]{1,3})*$"


class IdentitySettings(ServiceSettings):
    """What every process and command needs."""

    session_idle_days: Annotated[int, Field(ge=1, le=365)] = 30

    @property
    def session_idle(self) -> timedelta:
        """A session that is not refreshed for so long is over."""
        return timedelta(days=self.session_idle_days)


class ApiSettings(IdentitySettings, ProxiedSettings):
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

    @property
    def calling_codes(self) -> frozenset[int]:
        return frozenset(int(code) for code in self.sms_calling_codes.split(","))
