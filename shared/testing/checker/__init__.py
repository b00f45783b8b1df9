"""The checker: what clients were told, the books outside, every database and topic tell one story.

`check` is pure; `read_world` collects what it looks at. Crash tests, the benchmark and integration
tests share it. It knows the events and tables by itself and imports no service: a mistake in a
service must not hide in its judge.
"""

from shared.testing.checker.check import check as check
from shared.testing.checker.check import check_unchanged as check_unchanged
from shared.testing.checker.rest import until_at_rest as until_at_rest
from shared.testing.checker.story import Books as Books
from shared.testing.checker.story import Charge as Charge
from shared.testing.checker.story import History as History
from shared.testing.checker.story import Payback as Payback
from shared.testing.checker.story import World as World
from shared.testing.checker.violations import Harm as Harm
from shared.testing.checker.violations import Kind as Kind
from shared.testing.checker.violations import Violation as Violation
from shared.testing.checker.violations import tally as tally
from shared.testing.checker.world_reader import read_world as read_world
