"""Something that a person must look at, open once per kind and reference."""

from enum import StrEnum

import msgspec


class ItemKind(StrEnum):
    OUTCOME_UNKNOWN = "outcome_unknown"
    WRONG_AMOUNT = "wrong_amount"
    REFUND_DUE = "refund_due"
    MONEY_UNDECIDED = "money_undecided"
    CHANNEL_CONTRADICTION = "channel_contradiction"


class OperatorItem(msgspec.Struct, frozen=True):
    kind: ItemKind
    reference: str
    detail: str
