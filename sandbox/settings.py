"""Settings of the sandbox: environment variables `SONGHE_SANDBOX_…`, refused in one sentence."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "SONGHE_SANDBOX_"


class SandboxSettings(BaseSettings):
    """Everything the process reads from outside; durations carry their unit."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    # A playground that invents payments has no business beside real ones.
    environment: Literal["development"] = Field(
        default="development", validation_alias="SONGHE_ENVIRONMENT"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", validation_alias="SONGHE_LOG_LEVEL"
    )
    http_host: str = "127.0.0.1"
    http_port: int = Field(ge=1, le=65535)
    data_dir: Path
    seed: int = 1
    # Where a payer's browser finds the cashier pages: without it, where we listen.
    public_url: str | None = Field(default=None, pattern=r"^https?://[^/\s]+$")
    # Without keys there is no Alipay and no WeChat Pay here.
    channel_keys_dir: Path | None = None
    # Who may order: the one merchant that both channels know.
    alipay_app_id: str = "2021000000000001"
    alipay_seller_id: str = "2088000000000001"
    wechatpay_app_id: str = "wx0000000000000001"
    wechatpay_merchant_id: str = "1900000001"
    # 60 repeats after a second what the published schedules repeat after a minute.
    time_factor: float = Field(default=1.0, ge=1, le=100_000)
    sms_delivery_delay_ms: int = Field(default=200, ge=0, le=60_000)

    @property
    def browser_url(self) -> str:
        return self.public_url or f"http://{self.http_host}:{self.http_port}"


class SettingsRefused(Exception):
    """A setting is wrong or missing; the message is one sentence that names it."""


def load_settings() -> SandboxSettings:
    """Read the environment. Raises SettingsRefused for the first wrong or missing setting."""
    try:
        return SandboxSettings()  # type: ignore[call-arg]  # they come from the environment
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = str(first["loc"][0]) if first["loc"] else PREFIX
        name = field if field.startswith("SONGHE_") else PREFIX + field.upper()
        problem = "is missing" if first["type"] == "missing" else f"is wrong ({first['msg']})"
        raise SettingsRefused(f"{name} {problem}.") from error
