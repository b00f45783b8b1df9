"""What every set statement here shares."""

from collections.abc import Iterable
from uuid import UUID

from shared.kernel.errors import LostGuard


def check_all_saved(table: str, saved: int, wanted: int) -> None:
    """Raises LostGuard where a row was not in the state that the decision was made on."""
    if saved != wanted:
        raise LostGuard(table, wanted=wanted, saved=saved)


def uuid_list(ids: Iterable[UUID]) -> list[UUID]:
    """Each id once, in order."""
    return sorted(set(ids))
