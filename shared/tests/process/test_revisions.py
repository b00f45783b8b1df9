"""Readiness reads the newest migration from the files: alembic must say the same."""

from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from documents.services import service_names
from shared.runtime.process.revisions import head_revision, migrations_of


@pytest.mark.parametrize("service", service_names())
def test_the_newest_revision_is_the_one_that_alembic_finds(service: str) -> None:
    migrations = migrations_of(service)
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.set_main_option("path_separator", "os")

    assert head_revision(migrations) == ScriptDirectory.from_config(config).get_current_head()


def test_a_folder_without_revisions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no revision"):
        head_revision(tmp_path)


def test_a_file_that_names_no_revision_is_refused(tmp_path: Path) -> None:
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "0001_first.py").write_text('down_revision = "0000"\n')

    with pytest.raises(ValueError, match=r"0001_first\.py names no revision"):
        head_revision(tmp_path)
