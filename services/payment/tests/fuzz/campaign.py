"""Verifies mutated callbacks by the thousand: none may be accepted as anything but the original.

A case follows from channel, seed and index alone, so that each one can be repeated by itself.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random

import httpx2

from services.payment.adapters.wechatpay.signing import CLOCK_OFFSET_LIMIT_SECONDS
from services.payment.application.ports import CashierChannel
from services.payment.domain.channel_notification import (
    NotificationRefused,
    RawNotification,
    VerifiedNotification,
)
from services.payment.tests.cashier_wire import NOW, PUBLIC_KEY_ID, AlipaySide, WechatpaySide
from services.payment.tests.fuzz import alipay_mutations, wechatpay_mutations
from testing.clock import FixedClock

CHANNELS = ("alipay", "wechatpay")
# How often a callback is replayed unchanged in its bytes, at another time.
REPLAYED = 0.02

Mutate = Callable[[Random, RawNotification, Sequence[RawNotification]], RawNotification]


@dataclass(frozen=True, slots=True)
class Target:
    """One channel of ours, what it truly was told, and how to change that."""

    channel: CashierChannel
    originals: tuple[RawNotification, ...]
    truths: tuple[VerifiedNotification, ...]
    mutate: Mutate
    clock: FixedClock
    # How far from now a callback may be replayed; None where its time is no part of the proof.
    fresh_seconds: int | None


@dataclass(slots=True)
class Tally:
    """`forged` and `broken` hold the indexes of cases that must not be."""

    accepted_count: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    forged: list[int] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)

    @property
    def case_count(self) -> int:
        return self.accepted_count + self.refused.total() + len(self.forged) + len(self.broken)

    def add(self, other: "Tally") -> None:
        self.accepted_count += other.accepted_count
        self.refused.update(other.refused)
        self.forged += other.forged
        self.broken += other.broken


def run(target: Target, name: str, *, seed: int, first: int, count: int) -> Tally:
    """Verify the cases `first` … `first + count - 1`."""
    tally = Tally()
    for index in range(first, first + count):
        _verify(target, Random(f"{name}:{seed}:{index}"), index, tally)
    return tally


def _verify(target: Target, rng: Random, index: int, tally: Tally) -> None:
    chosen = rng.randrange(len(target.originals))
    original = target.originals[chosen]
    late = timedelta(seconds=rng.choice((-301, -300, 300, 301, 86_400)))
    is_late = rng.random() < REPLAYED
    case = original if is_late else target.mutate(rng, original, target.originals)
    target.clock.advance(late if is_late else timedelta())
    try:
        told = target.channel.verify(case)
    except NotificationRefused as refused:
        tally.refused[refused.reason.value] += 1
    except Exception:  # noqa: BLE001  # whatever it is, it would have been a 500
        tally.broken.append(index)
    else:
        is_too_late = is_late and target.fresh_seconds is not None
        if told == target.truths[chosen] and not is_too_late:
            tally.accepted_count += 1
        else:
            tally.forged.append(index)
    finally:
        target.clock.advance(-late if is_late else timedelta())


def build_target(name: str, folder: Path) -> Target:
    """With keys made for this run."""
    return _alipay(folder / name) if name == "alipay" else _wechatpay(folder / name)


def _alipay(folder: Path) -> Target:
    side, clock = AlipaySide(folder), FixedClock(NOW)
    originals = (
        side.notification(),
        side.notification(trade_status="TRADE_FINISHED", notify_id="N2"),
        side.notification(total_amount="0.10", notify_id="N3", out_trade_no="1" * 32),
        side.notification(refund_fee="1.00", gmt_refund="2026-11-24 12:29:58", notify_id="N4"),
        side.notification(trade_status="TRADE_CLOSED", gmt_payment=None, notify_id="N5"),
        side.notification(passback_params="a=1&b=2", notify_id="N6"),
    )
    mutate = alipay_mutations.mutated
    return _target(side.channel(_nobody, clock), originals, mutate, clock, fresh_seconds=None)


def _wechatpay(folder: Path) -> Target:
    side, clock = WechatpaySide(folder), FixedClock(NOW)
    other = side.transaction(out_trade_no="1" * 32, transaction_id="42")
    originals = (
        side.notification(),
        side.notification(other, id="EV-2"),
        side.notification(serial=PUBLIC_KEY_ID, id="EV-3"),
        side.notification(event_type="REFUND.SUCCESS", id="EV-4"),
        side.notification(event_type="SECURITY_ECHO.SUCCESS", id="EV-5"),
    )

    def mutate(
        rng: Random, original: RawNotification, others: Sequence[RawNotification]
    ) -> RawNotification:
        return wechatpay_mutations.mutated(rng, original, others, side)

    channel = side.channel(_nobody, clock)
    fresh = CLOCK_OFFSET_LIMIT_SECONDS
    return _target(channel, originals, mutate, clock, fresh_seconds=fresh)


def _target(
    channel: CashierChannel,
    originals: tuple[RawNotification, ...],
    mutate: Mutate,
    clock: FixedClock,
    *,
    fresh_seconds: int | None,
) -> Target:
    truths = tuple(channel.verify(original) for original in originals)
    return Target(channel, originals, truths, mutate, clock, fresh_seconds)


def _nobody(_: httpx2.Request) -> httpx2.Response:
    raise AssertionError("verification calls nobody")
