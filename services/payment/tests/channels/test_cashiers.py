"""Which cashier channels a process opens, from which keys, and what production refuses."""

import os
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from services.payment.application.ports import PayerDetails
from services.payment.cashiers import CASHIERS, open_cashiers
from services.payment.domain.next_action import SdkString, Started
from services.payment.settings import CashierSettings
from services.payment.tests.cashier_attempts import a_due_attempt
from services.payment.tests.cashier_wire import NOW, AlipaySide, WechatpaySide, write
from services.payment.tests.channel_keys import a_certificate, an_rsa_key, private_pem, public_pem
from shared.runtime.keys import key_files
from shared.runtime.keys.key_files import DEVELOPMENT_MARK
from shared.runtime.process.settings import SettingsError, read_settings
from testing.clock import FixedClock

BASE = {
    "SONGHE_ENVIRONMENT": "production",
    "SONGHE_DATABASE_URL": "postgresql+asyncpg://songhe_payment@127.0.0.1:9/songhe_payment",
    "SONGHE_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
}


class Environment:
    """A complete configuration of both channels for production; each test breaks one thing."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.alipay = AlipaySide(folder / "alipay")
        self.wechatpay = WechatpaySide(folder / "wechatpay")
        self._monkeypatch = monkeypatch
        for name in os.environ:
            if name.startswith("SONGHE_"):
                monkeypatch.delenv(name)
        for name, value in BASE.items():
            monkeypatch.setenv(name, value)
        self.set(
            alipay_url="https://openapi.alipay.com",
            alipay_app_id="2021000000000001",
            alipay_seller_id="2088000000000001",
            alipay_keys_dir=str(self.alipay.folder),
            wechatpay_url="https://api.mch.weixin.qq.com",
            wechatpay_app_id="wx0000000000000001",
            wechatpay_merchant_id="1900000001",
            wechatpay_keys_dir=str(self.wechatpay.folder),
            payment_callback_base_url="https://pay.example.org",
        )

    def set(self, **values: str | None) -> None:
        for name, value in values.items():
            variable = f"SONGHE_{name.upper()}"
            if value is None:
                self._monkeypatch.delenv(variable)
            else:
                self._monkeypatch.setenv(variable, value)

    def open(self) -> list[str]:
        """The ids of the channels."""
        settings = read_settings(CashierSettings)
        clients = {id: httpx2.AsyncClient(trust_env=False) for id in CASHIERS}
        clock = FixedClock(NOW)
        return list(open_cashiers(settings, clients=clients, call_timeout_seconds=1.0, clock=clock))

    def sentence(self) -> str:
        with pytest.raises(SettingsError) as refused:
            self.open()
        return str(refused.value)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    return Environment(tmp_path, monkeypatch)


@pytest.fixture
def seen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changed key files are seen at the next use, not after a second."""
    monkeypatch.setattr(key_files, "CHECK_SECONDS", 0.0)


def test_a_channel_without_an_address_is_none(environment: Environment) -> None:
    assert environment.open() == ["alipay", "wechatpay"]

    environment.set(alipay_url=None)

    assert environment.open() == ["wechatpay"]


@pytest.mark.parametrize(
    "name",
    [
        "alipay_app_id",
        "alipay_seller_id",
        "alipay_keys_dir",
        "wechatpay_app_id",
        "wechatpay_merchant_id",
        "wechatpay_keys_dir",
        "payment_callback_base_url",
    ],
)
def test_a_channel_that_is_configured_by_half_is_named(environment: Environment, name: str) -> None:
    environment.set(**{name: None})

    sentence = environment.sentence()

    assert f"SONGHE_{name.upper()} is missing" in sentence


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alipay_app_id", "wx0000000000000001"),
        ("alipay_seller_id", "1900000001"),
        ("wechatpay_merchant_id", "2088000000000001"),
        ("alipay_url", "openapi.alipay.com"),
    ],
)
def test_a_wrong_value_is_named_and_not_repeated(
    environment: Environment, name: str, value: str
) -> None:
    environment.set(**{name: value})

    sentence = environment.sentence()

    assert f"SONGHE_{name.upper()} is wrong" in sentence
    assert value not in sentence


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alipay_url", "http://openapi.alipay.com"),
        ("alipay_url", "https://openapi-sandbox.dl.alipaydev.com"),
        ("alipay_cashier_url", "http://127.0.0.1:8000"),
        ("wechatpay_url", "http://sandbox:8000"),
        ("wechatpay_url", "https://sandbox.example.org"),
        ("payment_callback_base_url", "http://pay.example.org"),
    ],
)
def test_production_refuses_http_and_sandboxes(
    environment: Environment, name: str, value: str
) -> None:
    environment.set(**{name: value})
    assert f"SONGHE_{name.upper()}" in environment.sentence()

    environment.set(environment="development")
    assert environment.open() == ["alipay", "wechatpay"]


@pytest.mark.parametrize("file", ["alipay/app/app-1.pem", "wechatpay/apiv3/apiv3-1.key"])
def test_production_refuses_keys_that_were_made_for_development(
    environment: Environment, tmp_path: Path, file: str
) -> None:
    path = tmp_path / file
    path.write_bytes(DEVELOPMENT_MARK + path.read_bytes())
    folder = file.partition("/")[0].upper()
    assert f"SONGHE_{folder}_KEYS_DIR holds a key that was made for" in environment.sentence()

    environment.set(environment="development")
    assert environment.open() == ["alipay", "wechatpay"]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("alipay/app/app-1.pem", b"no key"),
        ("alipay/platform/platform-1.pem", b""),
        ("alipay/root.crt", b"no certificate"),
        ("wechatpay/merchant/A1B2C3D4.pem", public_pem(an_rsa_key("merchant"))),
        ("wechatpay/platform/0123456789.pem", a_certificate(an_rsa_key("new"))),
        ("wechatpay/apiv3/apiv3-2.key", b"too short"),
    ],
)
def test_a_file_that_holds_no_key_is_named(
    environment: Environment, tmp_path: Path, file: str, content: bytes
) -> None:
    write(tmp_path / file, content)

    sentence = environment.sentence()

    assert "_KEYS_DIR is wrong" in sentence
    assert len(sentence.splitlines()) == 1


@pytest.mark.usefixtures("seen_at_once")
async def test_a_new_key_signs_without_a_restart(environment: Environment) -> None:
    channel = environment.alipay.channel(lambda _: httpx2.Response(500))
    due = a_due_attempt("alipay")
    first = await channel.start(due, PayerDetails(method="app"))

    write(environment.alipay.folder / "app" / "app-2.pem", private_pem(an_rsa_key("new")))
    second = await channel.start(due, PayerDetails(method="app"))
    write(environment.alipay.folder / "app" / "app-2.pem", b"cut off")
    third = await channel.start(due, PayerDetails(method="app"))

    assert signed_string(first) != signed_string(second)
    assert signed_string(second) == signed_string(third)


@pytest.mark.usefixtures("seen_at_once")
def test_half_of_a_change_to_certificate_mode_changes_nothing(environment: Environment) -> None:
    side = environment.alipay
    before = side.keys.keys

    write(side.folder / "root.crt", a_certificate(an_rsa_key("root")))
    half = side.keys.keys
    write(side.folder / "app" / "app-1.crt", a_certificate(an_rsa_key("stranger")))
    wrong = side.keys.keys
    write(side.folder / "app" / "app-1.crt", a_certificate(side.app))
    complete = side.keys.keys

    assert half == wrong == before
    assert complete.app_certificate_serial
    assert replace(complete, app_certificate_serial="", root_serial="") == before


@pytest.mark.usefixtures("seen_at_once")
def test_old_and_new_platform_key_are_believed_until_the_old_one_goes(
    environment: Environment,
) -> None:
    side = environment.wechatpay
    write(side.folder / "platform" / "PUB_KEY_ID_2.pem", public_pem(an_rsa_key("new")))
    both = side.keys.keys
    for path in (side.folder / "platform").glob("PUB_KEY_ID_0*"):
        path.unlink()
    after = side.keys.keys

    assert len(both.platform) == 3
    assert len(after.platform) == 2
    assert after.requested_serial == "PUB_KEY_ID_2"


def signed_string(answer: object) -> str:
    assert isinstance(answer, Started)
    assert isinstance(answer.next_action, SdkString)
    return answer.next_action.content
