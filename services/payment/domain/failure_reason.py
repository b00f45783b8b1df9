"""Why collecting an order stopped: a closed set, told to billing, people and operators alike."""

from enum import StrEnum


class FailureReason(StrEnum):
    """The reason of a failed order; its value travels in `PaymentFailed.reason`."""

    EXPIRED = "expired"
    WRONG_AMOUNT = "wrong_amount"
    CHANNEL_UNAVAILABLE = "channel_unavailable"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    LIMIT_EXCEEDED = "limit_exceeded"
    ACCOUNT_RESTRICTED = "account_restricted"
    REJECTED = "rejected"

    @property
    def can_retry(self) -> bool:
        """Whether the person may pay the same contribution again, perhaps by another channel.

        True for every reason so far: each one ends with no money kept. A reason for which
        a second payment would be wrong (say, a frozen account of ours) belongs in the set below.
        """
        return self not in NO_RETRY


NO_RETRY: frozenset[FailureReason] = frozenset()
