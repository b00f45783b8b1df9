"""The vocabulary of faults: which kind can happen to whom, in which call, and what it is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, StrictInt, model_validator

from sandbox.problems import Strict

Target = Literal["sms", "bank", "alipay", "wechatpay"]
# What the caller asks, what the payer does (pay), and what the channel says unasked (notify).
Call = Literal["send", "query", "close", "pay", "notify"]
Kind = Literal[
    "slow",
    "timeout_before_booking",
    "error_500",
    "decline",
    "duplicate",
    "processing",
    "timeout_after_booking",
    "error_500_after_booking",
    "answer_huge",
    "answer_wrong_type",
    "answer_duplicate_keys",
    "answer_not_json",
    "answer_other_order",
    "pay_after_close",
    "wrong_amount",
    "notify_before_answer",
    "never_notify",
    "notify_times",
    "out_of_order",
    "forged_signature",
    "stale_timestamp",
    "other_merchant",
]

DELAY_MS_MAX = 60_000
# Longer than any sensible client waits, short enough that nothing is held for ever.
HOLD_MS = 30_000
SLOW_MS = 2_000
DECLINE_REASONS: Mapping[Target, str] = {"sms": "unreachable_number"}
DECLINE_REASON = "insufficient_balance"
TIMES_MAX = 20

CASHIERS: tuple[Target, ...] = ("alipay", "wechatpay")
CHANNELS: tuple[Target, ...] = ("bank", *CASHIERS)
EVERYBODY: tuple[Target, ...] = ("sms", *CHANNELS)
ASKED: tuple[Call, ...] = ("send", "query", "close")


@dataclass(frozen=True, slots=True)
class Rule:
    """Where a kind makes sense; the first call is meant where none is named."""

    targets: tuple[Target, ...]
    calls: tuple[Call, ...]
    delay_ms: int = 0


CALL = Rule(EVERYBODY, ASKED, HOLD_MS)
ANSWER = Rule(CHANNELS, ("query", "send", "close"))
NOTICE = Rule(CASHIERS, ("notify",))
RULES: Mapping[Kind, Rule] = {
    "slow": Rule(EVERYBODY, ASKED, SLOW_MS),
    "timeout_before_booking": CALL,
    "error_500": CALL,
    "timeout_after_booking": CALL,
    "error_500_after_booking": CALL,
    "decline": Rule(EVERYBODY, ("send", "pay")),
    "duplicate": Rule(("sms", "bank"), ("send",)),
    "processing": Rule(("bank",), ("send",), SLOW_MS),
    "answer_huge": ANSWER,
    "answer_wrong_type": ANSWER,
    "answer_duplicate_keys": ANSWER,
    "answer_not_json": ANSWER,
    "answer_other_order": ANSWER,
    "pay_after_close": Rule(CASHIERS, ("close",)),
    "wrong_amount": Rule(CASHIERS, ("pay", "notify")),
    "notify_before_answer": Rule(CASHIERS, ("send", "pay")),
    "never_notify": NOTICE,
    "notify_times": NOTICE,
    "out_of_order": Rule(CASHIERS, ("notify",), SLOW_MS),
    "forged_signature": NOTICE,
    "stale_timestamp": NOTICE,
    "other_merchant": NOTICE,
}
ANSWER_KINDS: tuple[Kind, ...] = tuple(kind for kind, rule in RULES.items() if rule is ANSWER)


class NewFault(Strict):
    """`count` null or absent: until deleted. `rate`: the seeded share of calls that it hits.

    `order` is the channel's order number (our attempt id); without it every order is hit.
    """

    target: Target
    kind: Kind
    on: Call | Literal["any"] | None = None
    order: Annotated[str, Field(pattern=r"^[0-9A-Za-z_|*-]{1,64}$")] | None = None
    count: Annotated[StrictInt, Field(ge=1, le=1_000_000)] | None = None
    delay_ms: Annotated[StrictInt, Field(ge=0, le=DELAY_MS_MAX)] | None = None
    times: Annotated[StrictInt, Field(ge=1, le=TIMES_MAX)] = 2
    reason: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")] | None = None
    rate: Annotated[float, Field(strict=True, gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def must_be_able_to_happen(self) -> Self:
        rule = RULES[self.kind]
        if self.target not in rule.targets:
            raise ValueError(f"{self.kind} cannot happen to {self.target}")
        if self.on not in (None, "any", *self._calls()):
            raise ValueError(f"{self.kind} cannot happen on {self.on}")
        return self

    def _calls(self) -> tuple[Call, ...]:
        calls = RULES[self.kind].calls
        if self.kind == "decline":
            # At a cashier it is the payer who is declined, elsewhere our order.
            return ("pay",) if self.target in CASHIERS else ("send",)
        return calls

    @property
    def call(self) -> str:
        return self.on or self._calls()[0]

    @property
    def delay_or_default_ms(self) -> int:
        return RULES[self.kind].delay_ms if self.delay_ms is None else self.delay_ms

    @property
    def reason_or_default(self) -> str:
        return self.reason or DECLINE_REASONS.get(self.target, DECLINE_REASON)
