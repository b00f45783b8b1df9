"""Keys made for development open every door in development and none in production."""

from pathlib import Path

import pytest

from devstack.keys import development as keys
from shared.runtime.process.settings import (
    KeyFile,
    KeyFolder,
    PublicKeyFolder,
    ServiceSettings,
    SettingsError,
    SigningKeyFile,
    SigningKeyFolder,
    read_settings,
)


class EveryKind(ServiceSettings):
    service_key_file: SigningKeyFile
    access_token_keys_dir: SigningKeyFolder
    phone_encryption_keys_dir: KeyFolder
    phone_index_key_file: KeyFile
    service_public_keys_dir: PublicKeyFolder


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    keys.create_missing(tmp_path)
    password = keys.password(tmp_path, "billing")
    values = {
        "DATABASE_URL": f"postgresql+asyncpg://songhe_billing:{password}@127.0.0.1/songhe_billing",
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
        "SERVICE_KEY_FILE": str(tmp_path / "services" / "billing.pem"),
        "ACCESS_TOKEN_KEYS_DIR": str(tmp_path / "access-tokens"),
        "PHONE_ENCRYPTION_KEYS_DIR": str(tmp_path / "phone-encryption"),
        "PHONE_INDEX_KEY_FILE": str(tmp_path / "phone-index.key"),
        "SERVICE_PUBLIC_KEYS_DIR": str(tmp_path / "callers" / "identity"),
    }
    for name, value in values.items():
        monkeypatch.setenv(f"SONGHE_{name}", value)
    return monkeypatch


def test_development_takes_every_kind_of_development_key(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SONGHE_ENVIRONMENT", "development")

    assert read_settings(EveryKind).environment == "development"


def test_production_refuses_every_kind_of_development_key(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SONGHE_ENVIRONMENT", "production")

    with pytest.raises(SettingsError) as refused:
        read_settings(EveryKind)

    for name in EveryKind.model_fields:
        if name.endswith(("_file", "_dir", "_url")):
            assert f"SONGHE_{name.upper()} holds a" in str(refused.value), name
    assert "development" in str(refused.value)
