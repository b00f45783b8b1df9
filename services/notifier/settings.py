"""Settings of notifier; only the worker knows the gateway, identity's contacts and Redis."""

from typing import Annotated, ClassVar

from pydantic import Field

from shared.runtime.process.settings import (
    HttpUrl,
    KeyFile,
    RedisUrl,
    ServiceSettings,
    SigningKeyFile,
)


class NotifierSettings(ServiceSettings):
    """What every process and command needs."""

    # The number that every text names for help.
    support_phone: Annotated[str, Field(pattern=r"^[0-9+ -]{3,20}$")] = "12366"


class ApiSettings(NotifierSettings):
    """What only the API needs."""

    identity_url: HttpUrl


class StreamSettings(NotifierSettings):
    """The stream process needs Kafka only."""


class WorkerSettings(NotifierSettings):
    """What only the worker needs."""

    https_in_production: ClassVar[tuple[str, ...]] = ("sms_url",)

    identity_url: HttpUrl
    redis_url: RedisUrl
    sms_url: HttpUrl
    service_key_file: SigningKeyFile
    contact_cache_key_file: KeyFile
    # Calls to the SMS gateway, and to identity, that one worker has under way at most.
    notifier_concurrent_calls: Annotated[int, Field(ge=1, le=1000)] = 8
