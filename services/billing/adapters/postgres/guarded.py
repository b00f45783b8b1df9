"""What every set statement here shares."""

from collections.abc import Iterable
from uuid import UUID


class LostUpdate(Exception):
    """A guarded update met another version, although the row was locked: a fault of ours."""


def check_all_saved(table: str, saved: int, wanted: int) -> None:
    """Raises LostUpdate where a row was not in the state that the decision was made on."""
    if saved != wanted:
        raise LostUpdate(f"{saved} of {wanted} rows of {table} were saved")


def uuid_list(ids: Iterable[UUID]) -> list[UUID]:
    """Each id once, in order."""
    return sorted(set(ids))
