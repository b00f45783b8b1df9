"""A process dies at a named point under load, and is started again at once."""

import time
from collections.abc import Mapping, Sequence

from tests.crash.run import Act, Field, Mode, Scenario, Void
from tests.crash.stacks import died_at

# Far more than it takes: a slow machine must not make a run void.
DEATH_SECONDS = 150.0
POLL_SECONDS = 0.05
WORKERS = ("billing-worker", "payment-worker", "notifier-worker")
RELAYS = ("billing-worker", "payment-worker")
# Where a point is passed, and at which pass the process dies: in the middle of the load, after the
# seconds in which the rate before is measured.
PASSED_BY: Mapping[str, tuple[Mode, tuple[str, ...], int]] = {
    "http.before_commit": (Mode.WIRE, ("billing-api",), 250),
    "http.after_commit": (Mode.WIRE, ("billing-api",), 250),
    "dispatch.before_commit": (Mode.CORE, WORKERS, 200),
    "dispatch.after_commit": (Mode.CORE, WORKERS, 200),
    "dispatch.before_offset_commit": (Mode.CORE, WORKERS, 3),
    "relay.before_send": (Mode.CORE, RELAYS, 200),
    "relay.after_send_before_mark": (Mode.CORE, RELAYS, 200),
    "attempt.after_lease_before_call": (Mode.WIRE, ("payment-worker",), 250),
    "attempt.after_call_before_recording": (Mode.WIRE, ("payment-worker",), 250),
    "outcome.after_recording_before_emitting": (Mode.CORE, ("payment-worker",), 1600),
    "notification.before_commit": (Mode.CASHIER, ("payment-api",), 40),
    "notification.after_commit_before_acknowledgement": (Mode.CASHIER, ("payment-api",), 40),
    "sms.after_claim_before_submit": (Mode.WIRE, ("notifier-worker",), 200),
    "sms.after_submit_before_call": (Mode.WIRE, ("notifier-worker",), 200),
    "sms.after_call_before_recording": (Mode.WIRE, ("notifier-worker",), 200),
}
# Orders per second, and for how many seconds: past the last death and the recovery from it, which
# may take a session time-out, so that the rate after it can be measured.
LOADS: Mapping[Mode, tuple[float, float]] = {
    Mode.CORE: (200.0, 55.0),
    Mode.WIRE: (50.0, 55.0),
    Mode.CASHIER: (10.0, 30.0),
}

# process → the points at which it dies one after the other
Deaths = Mapping[str, Sequence[tuple[str, int]]]


def arm(deaths: Deaths) -> Act:
    """Start each process anew with its first point."""

    def act(field: Field) -> None:
        for name, points in deaths.items():
            field.stack.stop(name)
            field.stack.launch(name, environment=_armed(points[0]))
        for name in deaths:
            field.stack.wait_until_ready(name)

    return act


def die_and_return(deaths: Deaths) -> Act:
    """Wait for each death, start the process again with its next point, at last with none.

    Raises Void where a process does not die at its point.
    """

    def act(field: Field) -> None:
        left = {name: list(points) for name, points in deaths.items()}
        deadline = time.monotonic() + DEATH_SECONDS
        try:
            while left:
                for name in list(left):
                    if field.stack.exit_code(name) is not None:
                        _return(field, name, left)
                if time.monotonic() > deadline:
                    waiting = {name: points[0][0] for name, points in left.items()}
                    raise Void(f"did not die in {DEATH_SECONDS:.0f} s: {waiting}")
                time.sleep(POLL_SECONDS)
        finally:
            for name in left:
                # An armed process must not die during the check.
                field.stack.stop(name)
                field.stack.launch(name)
        for name in deaths:
            field.stack.wait_until_ready(name)

    return act


def _return(field: Field, name: str, left: dict[str, list[tuple[str, int]]]) -> None:
    point = left[name].pop(0)[0]
    if not died_at(field.stack, name, point):
        code = field.stack.exit_code(name)
        field.stack.launch(name)
        raise Void(f"{name} ended with {code}, not by SIGKILL at {point}")
    following = left[name]
    field.stack.launch(name, environment=_armed(following[0]) if following else None)
    if not following:
        del left[name]


def _armed(point: tuple[str, int]) -> dict[str, str]:
    return {"SONGHE_CRASH_AT": f"{point[0]}:{point[1]}"}


def _point_scenario(point: str) -> Scenario:
    mode, names, passes = PASSED_BY[point]
    deaths = {name: [(point, passes)] for name in names}
    rate, seconds = LOADS[mode]
    return Scenario(
        name=point,
        what=f"SIGKILL at {point}: {', '.join(names)}",
        mode=mode,
        points=(point,),
        before=arm(deaths),
        fault=die_and_return(deaths),
        rate=rate,
        seconds=seconds,
        servers_stand=True,
    )


POINT_SCENARIOS = [_point_scenario(point) for point in PASSED_BY]

# All points in two runs, one after the other in each process.
QUICK_CORE: Deaths = {
    "billing-worker": [("relay.before_send", 20), ("dispatch.before_offset_commit", 1)],
    "payment-worker": [
        ("dispatch.before_commit", 20),
        ("relay.after_send_before_mark", 5),
        ("outcome.after_recording_before_emitting", 300),
    ],
    "notifier-worker": [("dispatch.after_commit", 20)],
}
QUICK_WIRE: Deaths = {
    "billing-api": [("http.before_commit", 60), ("http.after_commit", 60)],
    "payment-worker": [
        ("attempt.after_lease_before_call", 40),
        ("attempt.after_call_before_recording", 40),
    ],
    "notifier-worker": [
        ("sms.after_claim_before_submit", 40),
        ("sms.after_submit_before_call", 20),
        ("sms.after_call_before_recording", 20),
    ],
}
# The points around a call are passed by payment's API, too: there a payer waits for the answer.
QUICK_CASHIER: Deaths = {
    "payment-api": [
        ("attempt.after_lease_before_call", 5),
        ("attempt.after_call_before_recording", 5),
        ("notification.before_commit", 2),
        ("notification.after_commit_before_acknowledgement", 2),
    ],
}


def _quick(name: str, mode: Mode, deaths: Deaths, *, rate: float, seconds: float) -> Scenario:
    points = tuple(
        point for each in deaths.values() for point, _ in each if PASSED_BY[point][0] is mode
    )
    return Scenario(
        name=name,
        what=f"every {mode} crash point, one after the other in each process",
        mode=mode,
        points=points,
        before=arm(deaths),
        fault=die_and_return(deaths),
        rate=rate,
        seconds=seconds,
        servers_stand=True,
        deadline_seconds=90.0,
    )


QUICK_SCENARIOS = [
    _quick("quick-core", Mode.CORE, QUICK_CORE, rate=100.0, seconds=40.0),
    _quick("quick-wire", Mode.WIRE, QUICK_WIRE, rate=30.0, seconds=30.0),
    _quick("quick-cashier", Mode.CASHIER, QUICK_CASHIER, rate=4.0, seconds=55.0),
]
