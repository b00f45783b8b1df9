"""A wrong or missing setting is one sentence that names it, and exit code 2."""

from pathlib import Path
from typing import ClassVar

import pytest

from shared.runtime.process.settings import (
    HttpUrl,
    KeyFile,
    PublicKeyFolder,
    ServiceSettings,
    SettingsError,
    SigningKeyFile,
    load_settings,
    read_settings,
)
from shared.tests.signing_keys import new_key, private_pem, public_pem, write_secret

DATABASE_URL = "postgresql+asyncpg://songhe:Zk3v9@127.0.0.1/songhe"  # pragma: allowlist secret
GOOD = {
    "SONGHE_ENVIRONMENT": "development",
    "SONGHE_DATABASE_URL": DATABASE_URL,
    "SONGHE_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
}


class SecretSettings(ServiceSettings):
    sms_code_key_file: KeyFile


class ServiceKeySettings(ServiceSettings):
    service_key_file: SigningKeyFile
    service_public_keys_dir: PublicKeyFolder


class OutsideSettings(ServiceSettings):
    https_in_production: ClassVar[tuple[str, ...]] = ("sms_url",)

    sms_url: HttpUrl


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_the_environment_is_read(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SONGHE_HTTP_PORT", "8001")

    settings = read_settings(ServiceSettings)

    assert settings.environment == "development"
    assert settings.http_address() == ("127.0.0.1", 8001)
    assert "Zk3v9" not in repr(settings)


def test_whoever_forgets_the_environment_gets_production(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("SONGHE_ENVIRONMENT")

    assert read_settings(ServiceSettings).environment == "production"


def test_a_missing_setting_ends_with_one_sentence_and_exit_code_2(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.delenv("SONGHE_DATABASE_URL")

    with pytest.raises(SystemExit) as ended:
        load_settings(ServiceSettings)

    assert ended.value.code == 2
    assert capsys.readouterr().err == "SONGHE_DATABASE_URL is missing.\n"


def test_all_missing_settings_are_named_at_once(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("SONGHE_DATABASE_URL")
    environment.delenv("SONGHE_KAFKA_BOOTSTRAP_SERVERS")

    with pytest.raises(SettingsError) as refusal:
        read_settings(ServiceSettings)

    assert str(refusal.value) == (
        "SONGHE_DATABASE_URL, SONGHE_KAFKA_BOOTSTRAP_SERVERS are missing."
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SONGHE_DATABASE_URL", "mysql://songhe:hunter2@h/songhe"),  # pragma: allowlist secret
        ("SONGHE_DATABASE_URL", "hunter2"),
        ("SONGHE_KAFKA_BOOTSTRAP_SERVERS", "hunter2"),
        ("SONGHE_ENVIRONMENT", "hunter2"),
        ("SONGHE_LOG_LEVEL", "hunter2"),
        ("SONGHE_METRICS_PORT", "hunter2"),
        ("SONGHE_METRICS_PORT", "65536"),
        ("SONGHE_SHUTDOWN_GRACE_SECONDS", "0"),
    ],
)
def test_a_wrong_setting_is_named_and_its_value_is_not_told(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)

    with pytest.raises(SettingsError) as refusal:
        read_settings(ServiceSettings)

    assert str(refusal.value).startswith(f"{name} is wrong (")
    assert "\n" not in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_a_port_is_wanted_only_by_those_who_listen(environment: pytest.MonkeyPatch) -> None:
    settings = read_settings(ServiceSettings)

    with pytest.raises(SettingsError, match=r"^SONGHE_HTTP_PORT is missing\.$"):
        settings.http_address()


def test_a_missing_key_file_is_one_sentence(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("SONGHE_SMS_CODE_KEY_FILE", str(tmp_path / "missing.key"))

    with pytest.raises(SettingsError, match=r"SONGHE_SMS_CODE_KEY_FILE is wrong .*cannot be read"):
        read_settings(SecretSettings)


def test_a_short_key_file_is_one_sentence_without_the_key(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "code.key"
    path.write_text("c2hvcnQ=")
    environment.setenv("SONGHE_SMS_CODE_KEY_FILE", str(path))

    with pytest.raises(SettingsError, match="SONGHE_SMS_CODE_KEY_FILE is wrong") as refusal:
        read_settings(SecretSettings)

    assert "c2hvcnQ" not in str(refusal.value)


def test_a_good_key_file_passes(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write_secret(tmp_path / "code.key")
    environment.setenv("SONGHE_SMS_CODE_KEY_FILE", str(path))

    assert read_settings(SecretSettings).sms_code_key_file == path


def test_service_keys_are_read_before_the_service_starts(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = new_key()
    (tmp_path / "billing.pem").write_bytes(public_pem(key))
    (tmp_path / "own").write_bytes(private_pem(key))
    environment.setenv("SONGHE_SERVICE_KEY_FILE", str(tmp_path / "own"))
    environment.setenv("SONGHE_SERVICE_PUBLIC_KEYS_DIR", str(tmp_path))
    read_settings(ServiceKeySettings)

    (tmp_path / "payment.pem").write_text("not a key")

    with pytest.raises(SettingsError, match="SONGHE_SERVICE_PUBLIC_KEYS_DIR is wrong"):
        read_settings(ServiceKeySettings)


def test_production_refuses_a_placeholder_password(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SONGHE_ENVIRONMENT", "production")
    url = "postgresql+asyncpg://songhe:changeme@db/songhe"  # pragma: allowlist secret
    environment.setenv("SONGHE_DATABASE_URL", url)

    with pytest.raises(SettingsError, match="SONGHE_DATABASE_URL holds a placeholder"):
        read_settings(ServiceSettings)


def test_production_refuses_the_plain_address_of_a_sandbox(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("SONGHE_SMS_URL", "http://127.0.0.1:9000")
    read_settings(OutsideSettings)

    environment.setenv("SONGHE_ENVIRONMENT", "production")

    with pytest.raises(SettingsError, match="SONGHE_SMS_URL must be an https:// address"):
        read_settings(OutsideSettings)
