"""No crash point is forgotten: not in the list, not in the code, not in the scenarios."""

from shared.runtime.ground.crash_points import POINTS
from tests.crash.faults.points import QUICK_SCENARIOS
from tests.crash.mutations.reached import reached_points
from tests.crash.run import Mode
from tests.crash.scenarios import SCENARIOS


def test_every_listed_point_is_passed_at_exactly_one_place() -> None:
    assert sorted(reached_points()) == sorted(POINTS)


def test_every_point_has_a_scenario_of_its_own_and_a_place_in_the_quick_run() -> None:
    in_long_run = [point for scenario in SCENARIOS for point in scenario.points]
    in_quick_run = [point for scenario in QUICK_SCENARIOS for point in scenario.points]

    assert sorted(in_long_run) == sorted(POINTS)
    assert sorted(in_quick_run) == sorted(POINTS)


def test_scenarios_have_names_of_their_own() -> None:
    names = [scenario.name for scenario in (*SCENARIOS, *QUICK_SCENARIOS)]

    assert len(set(names)) == len(names)


def test_a_scenario_offers_as_much_as_it_promises() -> None:
    """Orders a second and in all: over the wire there are fewer, with a payer each fewest."""
    least = {Mode.CORE: (200, 3000), Mode.WIRE: (50, 750), Mode.CASHIER: (10, 300)}
    for scenario in SCENARIOS:
        if scenario.points:
            least_rate, least_count = least[scenario.mode]
            assert scenario.rate >= least_rate, scenario.name
            assert scenario.rate * scenario.seconds >= least_count, scenario.name
