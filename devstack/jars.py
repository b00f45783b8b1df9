"""The jars of Apache Kafka: fetched by Maven coordinates, believed only by their hash."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devstack.problems import DownloadError

LOCK_FILE = Path(__file__).with_name("kafka.lock")
PARALLEL_DOWNLOADS = 8
TRIES = 2
DOWNLOAD_SECONDS = 30


@dataclass(frozen=True)
class Jar:
    """One locked artifact."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"

    def __str__(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"


Download = Callable[[Jar, Path], Path]


def read_lock(file: Path = LOCK_FILE) -> list[Jar]:
    """The jars that a lock file names, one `group:artifact:version sha256` per line."""
    jars = []
    for line in file.read_text().splitlines():
        if line and not line.startswith("#"):
            coordinates, sha256 = line.split()
            group, artifact, version = coordinates.split(":")
            jars.append(Jar(group, artifact, version, sha256))
    return jars


def cache_folder() -> Path:
    """`SONGHE_CACHE_DIR`, or the user's cache folder."""
    chosen = os.environ.get("SONGHE_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "songhe"


def from_repository(jar: Jar, folder: Path) -> Path:
    """Fetch one jar below `folder` from the public Maven repository that jgo knows."""
    from jgo.maven import MavenContext  # half a second that most runs never need

    context = MavenContext(repo_cache=folder, timeout=DOWNLOAD_SECONDS)
    project = context.project(jar.group, jar.artifact)
    fetched: Path = project.at_version(jar.version).artifact().resolve()
    return fetched


def fetch(
    jars: list[Jar],
    *,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    download: Download = from_repository,
) -> list[Path]:
    """The verified files of all jars, in the order given; missing or damaged ones are fetched.

    Raises DownloadError with one sentence that names the jar. Files appear in `folder` complete
    and verified or not at all, so that several stacks may share it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [jar for jar in jars if not _is_intact(folder / jar.file_name, jar)]
    with _system_trust(), ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool:
        tasks = [pool.submit(_fetch_one, jar, folder, download) for jar in missing]
        try:
            for done, task in enumerate(as_completed(tasks), start=1):
                task.result()
                progress(done, len(missing))
        except DownloadError:
            pool.shutdown(cancel_futures=True)
            raise
    return [folder / jar.file_name for jar in jars]


def _fetch_one(jar: Jar, folder: Path, download: Download) -> None:
    failure: Exception | None = None
    for _ in range(TRIES):
        scratch = Path(tempfile.mkdtemp(prefix=".fetch-", dir=folder))
        try:
            fetched = download(jar, scratch)
            if not _is_intact(fetched, jar):
                raise DownloadError(
                    f"The downloaded {jar} does not have the SHA-256 that "
                    f"devstack/{LOCK_FILE.name} names; nothing was installed."
                )
            fetched.replace(folder / jar.file_name)
            return
        except DownloadError as error:
            failure = error
        except (OSError, RuntimeError, AssertionError) as error:
            failure = DownloadError(
                f"{jar} cannot be downloaded ({_reason(error)}): check the network and try again."
            )
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    assert failure is not None
    raise failure


@contextmanager
def _system_trust() -> Iterator[None]:
    """Believe the certificate authorities of this system, as its other tools do."""
    import truststore

    truststore.inject_into_ssl()
    try:
        yield
    finally:
        truststore.extract_from_ssl()


def _reason(error: Exception) -> str:
    """The innermost cause in a few words; network errors come wrapped several times."""
    cause: object = error
    while isinstance(cause, Exception) and cause.args and isinstance(cause.args[0], Exception):
        cause = cause.args[0]
    text = " ".join(str(getattr(cause, "reason", None) or cause).split())
    text = text.partition(" in remote repositories")[0]
    if len(text) > 80:
        text = text.rpartition(": ")[2].rstrip("\"')")
    return text[:120] or type(error).__name__


def _is_intact(file: Path, jar: Jar) -> bool:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == jar.sha256
    except FileNotFoundError:
        return False
