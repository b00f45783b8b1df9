"""What can be wrong, by name, and whom it harms."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Harm(StrEnum):
    """The column of a report that a violation counts in."""

    LOST = "lost"
    DOUBLED = "doubled"
    STUCK = "stuck"
    WRONG = "wrong"


class Kind(StrEnum):
    """One promise that was broken."""

    ORDER_MISSING = "order_missing"
    EVENT_LOST = "event_lost"
    INBOX_MISSING = "inbox_missing"
    NOTIFICATION_MISSING = "notification_missing"
    SMS_LOST = "sms_lost"
    CHARGE_UNRECORDED = "charge_unrecorded"
    CHARGED_TWICE = "charged_twice"
    PAID_TWICE = "paid_twice"
    SMS_DOUBLED = "sms_doubled"
    NOTIFICATION_DOUBLED = "notification_doubled"
    INBOX_DOUBLED = "inbox_doubled"
    ORDER_STUCK = "order_stuck"
    MESSAGE_STUCK = "message_stuck"
    MONEY_STUCK = "money_stuck"
    EVENT_UNSENT = "event_unsent"
    CONSUMER_BEHIND = "consumer_behind"
    LETTER_OPEN = "letter_open"
    KEY_BLOCKED = "key_blocked"
    EVENT_INVENTED = "event_invented"
    EVENT_CHANGED = "event_changed"
    CHARGE_INVENTED = "charge_invented"
    SMS_INVENTED = "sms_invented"
    INBOX_UNKNOWN = "inbox_unknown"
    SUMS_DIFFER = "sums_differ"
    ILLEGAL_HISTORY = "illegal_history"
    OUT_OF_ORDER = "out_of_order"
    PARTITION_CHANGED = "partition_changed"
    SERVICES_DISAGREE = "services_disagree"
    TOPIC_DISAGREES = "topic_disagrees"
    STATE_CHANGED = "state_changed"
    LOOP_FAILED = "loop_failed"

    @property
    def harm(self) -> Harm:
        return HARMS.get(self, Harm.WRONG)


HARMS = {
    Kind.ORDER_MISSING: Harm.LOST,
    Kind.EVENT_LOST: Harm.LOST,
    Kind.INBOX_MISSING: Harm.LOST,
    Kind.NOTIFICATION_MISSING: Harm.LOST,
    Kind.SMS_LOST: Harm.LOST,
    Kind.CHARGE_UNRECORDED: Harm.LOST,
    Kind.CHARGED_TWICE: Harm.DOUBLED,
    Kind.PAID_TWICE: Harm.DOUBLED,
    Kind.SMS_DOUBLED: Harm.DOUBLED,
    Kind.NOTIFICATION_DOUBLED: Harm.DOUBLED,
    Kind.INBOX_DOUBLED: Harm.DOUBLED,
    Kind.ORDER_STUCK: Harm.STUCK,
    Kind.MESSAGE_STUCK: Harm.STUCK,
    Kind.MONEY_STUCK: Harm.STUCK,
    Kind.EVENT_UNSENT: Harm.STUCK,
    Kind.CONSUMER_BEHIND: Harm.STUCK,
    Kind.LETTER_OPEN: Harm.STUCK,
    Kind.KEY_BLOCKED: Harm.STUCK,
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise about one thing; `subject` is its id."""

    kind: Kind
    subject: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}: {self.detail}"


def tally(violations: Iterable[Violation]) -> dict[Harm, int]:
    """How many violations of each harm; every harm is named."""
    counts = Counter(violation.kind.harm for violation in violations)
    return {harm: counts[harm] for harm in Harm}
