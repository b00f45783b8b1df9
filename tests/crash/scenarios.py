"""Everything that `make crash` runs, in its order."""

from tests.crash.faults.log_faults import LOG_SCENARIOS
from tests.crash.faults.members import MEMBER_SCENARIOS
from tests.crash.faults.older import OLDER_SCENARIOS
from tests.crash.faults.points import POINT_SCENARIOS
from tests.crash.faults.servers import SERVER_SCENARIOS
from tests.crash.faults.world_faults import WORLD_SCENARIOS
from tests.crash.run import Mode, Scenario

ALL = [
    *POINT_SCENARIOS,
    *SERVER_SCENARIOS,
    *MEMBER_SCENARIOS,
    *WORLD_SCENARIOS,
    *LOG_SCENARIOS,
    *OLDER_SCENARIOS,
]
# What runs on the same kind of stack runs together: a stack takes a quarter of a minute to start.
SCENARIOS: list[Scenario] = sorted(ALL, key=lambda each: (each.is_alone, each.mode is Mode.WIRE))
