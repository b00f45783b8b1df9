"""Where the entry listens and where the services are."""

from typing import Annotated

import httpx2
from pydantic import AfterValidator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.catalogue import SERVICES
from shared.runtime.process.settings import HttpUrl, Port, check_networks


class EntrySettings(BaseSettings):
    """Where the entry listens and where the services are."""

    model_config = SettingsConfigDict(env_prefix="SONGHE_", extra="ignore", frozen=True)

    entry_http_host: str = "127.0.0.1"
    entry_http_port: Port
    entry_identity_url: HttpUrl
    entry_billing_url: HttpUrl
    entry_payment_url: HttpUrl
    entry_notifier_url: HttpUrl
    # Balancers before the entry whose X-Forwarded-For is kept: networks with commas; nobody's else.
    trusted_proxies: Annotated[str, AfterValidator(check_networks)] = ""

    @property
    def services(self) -> dict[str, httpx2.URL]:
        return {name: httpx2.URL(getattr(self, f"entry_{name}_url")) for name in SERVICES}
