"""No crash point is forgotten: not in the list, not in the code, not in the scenarios."""

from shared.runtime.crash_points import POINTS
from tests.crash.reached import reached_points


def test_every_listed_point_is_passed_at_exactly_one_place() -> None:
    assert sorted(reached_points()) == sorted(POINTS)
