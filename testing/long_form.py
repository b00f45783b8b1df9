"""Proofs that take long have a short form, which `make test` runs, beside the long one.

`make proofs` runs the long forms: docs/proofs.md lists them with the time that each takes.
"""

import os
from typing import TypeVar

LONG = os.environ.get("SONGHE_TEST_LONG") == "1"

Value = TypeVar("Value")


def form(*, short: Value, long: Value) -> Value:
    """The one of both that this run wants; what is proved is the same, how often is not."""
    return long if LONG else short
