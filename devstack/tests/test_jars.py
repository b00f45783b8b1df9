"""Jars are believed only by their hash, and a failure is one sentence that names the jar."""

import hashlib
import threading
from pathlib import Path

import pytest

from devstack.jars import LOCK_FILE, Download, Jar, fetch, read_lock
from devstack.problems import DownloadError

CONTENT = b"a jar"


def a_jar(*, name: str = "thing", content: bytes = CONTENT) -> Jar:
    return Jar("org.example", name, "1.0", hashlib.sha256(content).hexdigest())


def a_repository(content: bytes = CONTENT, *, log: list[str] | None = None) -> Download:
    def download(jar: Jar, folder: Path) -> Path:
        if log is not None:
            log.append(jar.artifact)
        file = folder / "downloaded.jar"
        file.write_bytes(content)
        return file

    return download


def a_broken_repository(error: Exception) -> Download:
    def download(jar: Jar, folder: Path) -> Path:
        (folder / "half.jar").write_bytes(CONTENT[:2])
        raise error

    return download


def test_a_jar_is_fetched_once(tmp_path: Path) -> None:
    log: list[str] = []

    first = fetch([a_jar()], folder=tmp_path, download=a_repository(log=log))
    second = fetch([a_jar()], folder=tmp_path, download=a_repository(log=log))

    assert first == second == [tmp_path / "thing-1.0.jar"]
    assert first[0].read_bytes() == CONTENT
    assert log == ["thing"]


def test_a_damaged_jar_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "thing-1.0.jar").write_bytes(b"damaged")

    files = fetch([a_jar()], folder=tmp_path, download=a_repository())

    assert files[0].read_bytes() == CONTENT


def test_a_wrong_hash_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as refusal:
        fetch([a_jar()], folder=tmp_path, download=a_repository(b"another jar"))

    assert "org.example:thing:1.0 does not have the SHA-256" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert refusal.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error", [OSError("no route to host"), RuntimeError("not found in remote repositories {…}")]
)
def test_a_broken_download_is_one_sentence_and_leaves_nothing(
    error: Exception, tmp_path: Path
) -> None:
    with pytest.raises(DownloadError) as refusal:
        fetch([a_jar()], folder=tmp_path, download=a_broken_repository(error))

    assert str(refusal.value).startswith("org.example:thing:1.0 cannot be downloaded (no")
    assert "{" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_breaks_once_is_tried_again(tmp_path: Path) -> None:
    repositories = iter([a_broken_repository(OSError("reset")), a_repository()])

    files = fetch(
        [a_jar()], folder=tmp_path, download=lambda jar, folder: next(repositories)(jar, folder)
    )

    assert files[0].read_bytes() == CONTENT


def test_jars_are_fetched_side_by_side(tmp_path: Path) -> None:
    both_are_here = threading.Barrier(2, timeout=10)

    def download(jar: Jar, folder: Path) -> Path:
        both_are_here.wait()
        return a_repository()(jar, folder)

    fetch([a_jar(), a_jar(name="other")], folder=tmp_path, download=download)

    assert {path.name for path in tmp_path.iterdir()} == {"thing-1.0.jar", "other-1.0.jar"}


def test_the_lock_names_every_jar_by_coordinates_and_hash_and_no_address() -> None:
    jars = read_lock()

    assert len(jars) == 46
    assert all(len(bytes.fromhex(jar.sha256)) == 32 for jar in jars)
    assert {jar.version for jar in jars if jar.artifact == "kafka_2.13"} == {"4.3.1"}
    assert "//" not in LOCK_FILE.read_text()
