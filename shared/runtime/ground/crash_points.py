"""Named places where a process can be told to die by SIGKILL, so that tests can prove recovery.

`SONGHE_CRASH_AT=relay.after_send_before_mark:3` kills the process as it passes that place for the
third time. Unset, `reach` does nothing; in production it is refused.
"""

import os
import signal
import sys
from collections.abc import Callable

POINTS = (
    "http.before_commit",
    "http.after_commit",
    "dispatch.before_commit",
    "dispatch.after_commit",
    "dispatch.before_offset_commit",
    "relay.before_send",
    "relay.after_send_before_mark",
    "attempt.after_lease_before_call",
    "attempt.after_call_before_recording",
    "outcome.after_recording_before_emitting",
    "notification.before_commit",
    "notification.after_commit_before_acknowledgement",
    "sms.after_claim_before_submit",
    "sms.after_submit_before_call",
    "sms.after_call_before_recording",
)


def parse(wanted: str) -> tuple[str, int]:
    """`point:pass`, the first pass where no number is given. Raises ValueError."""
    point, _, number = wanted.partition(":")
    if point not in POINTS:
        raise ValueError(f"there is no such place; there are {', '.join(POINTS)}")
    if not (number or "1").isdecimal() or not int(number or "1"):
        raise ValueError("behind the place comes which pass: 1, 2, 3 …")
    return point, int(number or "1")


def arm(wanted: str) -> None:
    """From now on `reach` kills this process at the given place and pass. Raises ValueError."""
    global reach
    reach = _killer(*parse(wanted))


def _nothing(point: str) -> None:
    """What `reach` is in every process that nobody wants to die."""


def _killer(wanted: str, passes: int) -> Callable[[str], None]:
    left = passes

    def count(point: str) -> None:
        nonlocal left
        if point == wanted:
            left -= 1
            if left == 0:
                _die(wanted)

    return count


def _die(point: str) -> None:
    # Without a buffer: nothing runs after the signal.
    os.write(sys.stderr.fileno(), f"crash point {point} reached, process killed\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)


# Call it as `crash_points.reach("…")`: an imported name would not be replaced.
reach: Callable[[str], None] = _nothing
