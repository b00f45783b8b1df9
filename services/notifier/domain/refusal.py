"""Every refusal of the notifier: its stable code, its HTTP status and what a person reads."""

from shared.kernel.errors import WordedRefusal
from shared.kernel.wording import Wording

REFUSALS: dict[str, tuple[int, Wording]] = {
    "cursor_unknown": (
        400,
        Wording(
            "这一页已失效，请从头再看。",
            "This page no longer exists. Please start from the first one.",
        ),
    ),
}


def refused(code: str) -> WordedRefusal:
    """The refusal of that code."""
    status, wording = REFUSALS[code]
    return WordedRefusal(code, wording, status=status)
