"""Sealed values open only whole, in their own context, and with a key that is still here."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from shared.runtime.keys import key_files
from shared.runtime.keys.key_files import KeyFileError
from shared.runtime.keys.sealing import BlindIndex, CannotOpen, Sealer
from shared.tests.signing_keys import write_secret

PHONE = b"+8613800138000"
ROW = b"insured_person:1"


def a_sealer(*key_ids: str) -> Sealer:
    return Sealer.from_keys({key_id: os.urandom(32) for key_id in key_ids or ("2026",)})


@given(plaintext=some.binary(max_size=200), context=some.binary(max_size=50))
def test_what_was_sealed_opens_in_its_context(plaintext: bytes, context: bytes) -> None:
    sealer = a_sealer()

    sealed = sealer.seal(plaintext, context)

    assert sealer.open(sealed, context) == plaintext


def test_the_same_value_is_never_sealed_the_same_way_twice() -> None:
    sealer = a_sealer()

    sealed = {sealer.seal(PHONE, ROW) for _ in range(100)}

    assert len(sealed) == 100


def test_every_flipped_bit_is_noticed() -> None:
    sealer = a_sealer()
    sealed = sealer.seal(PHONE, ROW)

    for bit in range(len(sealed) * 8):
        damaged = bytearray(sealed)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CannotOpen):
            sealer.open(bytes(damaged), ROW)


def test_every_cut_value_is_noticed() -> None:
    sealer = a_sealer()
    sealed = sealer.seal(PHONE, ROW)

    for length in range(len(sealed)):
        with pytest.raises(CannotOpen):
            sealer.open(sealed[:length], ROW)


def test_a_value_copied_into_another_row_does_not_open_there() -> None:
    sealer = a_sealer()

    sealed = sealer.seal(PHONE, b"insured_person:1")

    with pytest.raises(CannotOpen, match="another context"):
        sealer.open(sealed, b"insured_person:2")


def test_the_newest_key_seals_and_older_ones_still_open() -> None:
    old_key, new_key = os.urandom(32), os.urandom(32)
    before = Sealer.from_keys({"2026-01": old_key})
    after = Sealer.from_keys({"2026-01": old_key, "2026-02": new_key})
    sealed_before = before.seal(PHONE, ROW)

    sealed_after = after.seal(PHONE, ROW)

    assert after.open(sealed_before, ROW) == PHONE
    assert after.needs_resealing(sealed_before)
    assert not after.needs_resealing(sealed_after)
    with pytest.raises(CannotOpen, match="not here"):
        before.open(sealed_after, ROW)


def test_a_new_key_file_is_used_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_files, "CHECK_SECONDS", 0.0)
    write_secret(tmp_path / "2026-01.key")
    sealer = Sealer.from_folder(tmp_path)
    sealed = sealer.seal(PHONE, ROW)

    write_secret(tmp_path / "2026-02.key")

    assert sealer.needs_resealing(sealed)
    assert sealer.open(sealed, ROW) == PHONE


def test_a_broken_new_key_file_leaves_the_old_keys_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_files, "CHECK_SECONDS", 0.0)
    write_secret(tmp_path / "2026-01.key")
    sealer = Sealer.from_folder(tmp_path)
    sealed = sealer.seal(PHONE, ROW)

    (tmp_path / "2026-02.key").write_text("half a ke")

    assert sealer.open(sealed, ROW) == PHONE


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("not base64!", "is not base64"),
        ("c2hvcnQ=", "holds 5 bytes instead of 32"),
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "holds a placeholder"),
    ],
)
def test_a_file_without_a_real_key_is_refused(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "index.key"
    path.write_text(content)

    with pytest.raises(KeyFileError, match=words) as refusal:
        BlindIndex.from_file(path)

    assert content not in str(refusal.value)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="no key"):
        Sealer.from_folder(tmp_path)


def test_the_blind_index_finds_equal_values_and_tells_nothing_without_its_key(
    tmp_path: Path,
) -> None:
    index = BlindIndex.from_file(write_secret(tmp_path / "index.key"))
    other = BlindIndex(os.urandom(32))

    digest = index.digest("+8613800138000")

    assert digest == index.digest("+8613800138000")
    assert digest != index.digest("+8613800138001")
    assert digest != other.digest("+8613800138000")
    assert len(digest) == 32
