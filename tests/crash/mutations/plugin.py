"""A pytest plugin that breaks the product before the tests: `-p tests.crash.mutations.plugin`.

`SONGHE_MUTATION` names the breakage, `SONGHE_MUTATION_MARKS` the file for who passed it.
"""

import os

from tests.crash.mutations.table import apply


def pytest_configure() -> None:
    apply(os.environ["SONGHE_MUTATION"], os.environ["SONGHE_MUTATION_MARKS"])
