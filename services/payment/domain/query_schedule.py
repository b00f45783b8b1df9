"""When a channel is asked again, and until when a person is promised news."""

from datetime import datetime, timedelta

from shared.kernel import clock

# Most calls that time out have been booked: the truth is usually there within seconds.
QUERY_DELAYS = tuple(timedelta(seconds=seconds) for seconds in (1, 2, 5, 15, 60))
# A channel in trouble is not helped by more questions than this.
QUERY_INTERVAL = timedelta(minutes=5)
# After a day the channel's bill is out: a person must look, and we only keep watch.
UNKNOWN_LIMIT = timedelta(hours=24)
QUERY_INTERVAL_WATCHING = timedelta(hours=1)

# How often a cashier is asked, by how long ago the asking began. Where somebody waits for the
# answer, the truth is usually there within seconds; after minutes it is the channel's trouble.
ASKING_STEPS = (
    (timedelta(seconds=5), timedelta(seconds=1)),
    (timedelta(seconds=30), timedelta(seconds=5)),
    (timedelta(minutes=2), timedelta(seconds=15)),
    (timedelta(minutes=10), timedelta(minutes=1)),
)
# A payer is some half a minute in the cashier, and the channel notifies at once: these queries
# are for notifications that are lost, so fewer are enough.
PAYER_STEPS = (
    (timedelta(seconds=30), timedelta(seconds=5)),
    (timedelta(minutes=2), timedelta(seconds=15)),
    (timedelta(minutes=10), timedelta(minutes=1)),
)

# The first send again is at once: the usual cause is our own crash before the call.
SEND_AGAIN_DELAYS = tuple(timedelta(seconds=seconds) for seconds in (0, 2, 5, 15, 60))

# A send that left us just before the expiry may still be on its way.
NOT_THERE_MARGIN = timedelta(minutes=5)
# Two looks at the same replica lag would be one look.
NOT_THERE_INTERVAL = timedelta(minutes=1)

# How long after its end an attempt is asked about once more: channels confirm a close and take
# money all the same. What was under way is booked within minutes; the rest is for banks that
# answer at night. After a day the channel's bill is out.
LATE_ASKS = (
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=6),
    timedelta(hours=12),
    timedelta(hours=24),
)
# The last ask needs an answer, so a channel that is away is asked on, until the next bill is out.
LATE_ASKS_LIMIT = timedelta(hours=48)

# Billing decides within seconds; while it is down there is no use in asking often.
DECISION_DELAYS = tuple(timedelta(seconds=seconds) for seconds in (30, 60, 300, 1800))
DECISION_INTERVAL = timedelta(hours=1)
# About five hours without an answer: something is broken that repeating does not mend.
DECISION_ASKS_BEFORE_ITEM = 8

# A quarter of an hour resolves most; then longer promises that can be kept.
PROMISES = (
    timedelta(minutes=15),
    timedelta(hours=2),
    timedelta(hours=4),
    timedelta(hours=8),
    timedelta(hours=24),
)
PROMISE_INTERVAL = timedelta(hours=24)
# Since midnight in China. Nobody is woken to hear that nothing is known yet: what would be promised
# for the night is promised for the morning. The first promise stays: its payer is awake.
NIGHT_BEGINS = timedelta(hours=22)
NIGHT_ENDS = timedelta(hours=8)


def next_query_at(*, query_count: int, first_sent_at: datetime, now: datetime) -> datetime:
    """When to ask after `query_count` queries since the last send."""
    if query_count < len(QUERY_DELAYS):
        return now + QUERY_DELAYS[query_count]
    if now - first_sent_at < UNKNOWN_LIMIT:
        return now + QUERY_INTERVAL
    return now + QUERY_INTERVAL_WATCHING


def next_cashier_query_at(
    *, steps: tuple[tuple[timedelta, timedelta], ...], since: datetime, now: datetime
) -> datetime:
    """When to ask a cashier again: often at first, then capped; slowly after a day."""
    for until, interval in steps:
        if now - since < until:
            return now + interval
    if now - since < UNKNOWN_LIMIT:
        return now + QUERY_INTERVAL
    return now + QUERY_INTERVAL_WATCHING


def send_again_at(*, send_count: int, now: datetime) -> datetime:
    """When to send once more after `send_count` sends that the channel does not know of."""
    place = max(send_count - 1, 0)
    if place < len(SEND_AGAIN_DELAYS):
        return now + SEND_AGAIN_DELAYS[place]
    return now + QUERY_INTERVAL


def promised_until(*, unknown_since: datetime, now: datetime) -> datetime:
    """By when the person hears news: the first promise after `now`, always in the future."""
    first, *later = PROMISES
    if now < unknown_since + first:
        return unknown_since + first
    # Of the day that is over, too: its promise may have been put off to a morning that is to come.
    days_over = max((now - unknown_since) // PROMISE_INTERVAL, 1)
    later += [days * PROMISE_INTERVAL for days in (days_over, days_over + 1)]
    promises = (_by_day(unknown_since + promise) for promise in later)
    return min(promise for promise in promises if now < promise)


def _by_day(instant: datetime) -> datetime:
    """The instant itself, or the end of the night that it lies in."""
    local = instant.astimezone(clock.SHANGHAI)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    if local < midnight + NIGHT_ENDS:
        return (midnight + NIGHT_ENDS).astimezone(instant.tzinfo)
    if local < midnight + NIGHT_BEGINS:
        return instant
    return (midnight + timedelta(days=1) + NIGHT_ENDS).astimezone(instant.tzinfo)


def next_late_ask_at(*, ended_at: datetime, now: datetime, is_answered: bool) -> datetime | None:
    """When to ask again about an attempt that ended without money; None: never more.

    `is_answered` tells whether the ask that is just over had an answer. Asks that nobody made in
    time are not made up for: the next one tells as much.
    """
    for age in LATE_ASKS:
        if now < ended_at + age:
            return ended_at + age
    if is_answered or now >= ended_at + LATE_ASKS_LIMIT:
        return None
    return now + QUERY_INTERVAL_WATCHING


def next_decision_ask_at(*, unexpected_sequence: int, now: datetime) -> datetime:
    """When to tell billing again of unexpected money it has not decided about."""
    place = max(unexpected_sequence - 1, 0)
    return now + (DECISION_DELAYS[place] if place < len(DECISION_DELAYS) else DECISION_INTERVAL)
