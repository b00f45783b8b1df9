"""The checker: what clients were told, the books outside, every database and topic tell one story.

`check` is pure; `read_world` collects what it looks at. Crash tests, the benchmark and integration
tests share it. It knows the events and tables by itself and imports no service: a mistake in a
service must not hide in its judge.
"""

from testing.checker.check import check as check
from testing.checker.check import check_unchanged as check_unchanged
from testing.checker.rest import until_at_rest as until_at_rest
from testing.checker.story import Books as Books
from testing.checker.story import Charge as Charge
from testing.checker.story import History as History
from testing.checker.story import Payback as Payback
from testing.checker.story import World as World
from testing.checker.violations import Harm as Harm
from testing.checker.violations import Kind as Kind
from testing.checker.violations import Violation as Violation
from testing.checker.violations import tally as tally
from testing.checker.world_reader import read_world as read_world
