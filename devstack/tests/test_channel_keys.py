"""What one side signs with, the other side can verify; a second start changes nothing."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from devstack.keys import channels as channel_keys
from shared.runtime.keys.key_files import DEVELOPMENT_MARK

PAIRS = (
    ("alipay/app", "sandbox/alipay/app"),
    ("sandbox/alipay/platform", "alipay/platform"),
    ("wechatpay/merchant", "sandbox/wechatpay/merchant"),
    ("sandbox/wechatpay/platform", "wechatpay/platform"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("channels")
    channel_keys.create_missing(path)
    return path


@pytest.mark.parametrize(("private", "public"), PAIRS)
def test_both_halves_of_a_key_lie_under_one_name(folder: Path, private: str, public: str) -> None:
    owned = {path.name: _own(path) for path in (folder / private).glob("*.pem")}
    known = {path.name: _known(path) for path in (folder / public).glob("*.pem")}

    assert owned == known
    assert owned


def test_a_platform_certificate_is_named_by_its_serial_number(folder: Path) -> None:
    [path] = (folder / "sandbox" / "wechatpay" / "platform").glob("*.crt")

    certificate = x509.load_pem_x509_certificate(path.read_bytes())

    assert path.stem == f"{certificate.serial_number:X}"
    assert len(path.stem) == 40


def test_every_file_says_that_it_was_made_for_development(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]

    assert len(files) == 13
    assert all(path.read_bytes().startswith(DEVELOPMENT_MARK) for path in files)
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)


def test_a_second_start_makes_nothing_new(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    channel_keys.create_missing(folder)

    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _own(path: Path) -> bytes:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    return _bytes(key.public_key())


def _known(path: Path) -> bytes:
    content = path.read_bytes()
    if b"CERTIFICATE" in content:
        return _bytes(x509.load_pem_x509_certificate(content).public_key())
    return _bytes(serialization.load_pem_public_key(content))


def _bytes(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
