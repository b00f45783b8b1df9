"""Something that a person must look at, open once per kind and reference."""

from dataclasses import dataclass
from enum import StrEnum


class ItemKind(StrEnum):
    OUTCOME_UNKNOWN = "outcome_unknown"
    WRONG_AMOUNT = "wrong_amount"
    REFUND_DUE = "refund_due"
    MONEY_UNDECIDED = "money_undecided"
    CHANNEL_CONTRADICTION = "channel_contradiction"


@dataclass(frozen=True, slots=True)
class OperatorItem:
    kind: ItemKind
    reference: str
    detail: str
