"""The passages of docs/channels.md that the code knows: what people read, and when we ask again."""

import inspect
import re
from datetime import timedelta
from pathlib import Path
from types import ModuleType

from documents.markers import replace_between, table
from services.payment.application import record_outcomes
from services.payment.domain import query_schedule, situation
from services.payment.domain.channel import Capabilities
from services.payment.domain.situation import Situation
from services.payment.domain.status_text import TEXTS, Words
from services.payment.wiring.channels import CHANNELS

PAGE = Path("docs") / "channels.md"
S = Situation
# What the payer of each story reads, in the order in which it is read.
STORIES: dict[str, tuple[Situation, ...]] = {
    "happy": (S.WAITING_IN_CASHIER, S.SETTLED),
    "silent": (S.ASKING_CHANNEL, S.UNKNOWN, S.UNKNOWN_STILL, S.UNKNOWN_CASE),
    "late": (S.CLOSING_ORDER, S.EXPIRED, S.LATE_MONEY, S.SETTLED_LATE, S.LATE_MONEY_GOES_BACK),
    "twice": (S.CLOSING_ATTEMPT, S.PAID_TWICE),
    "wrong amount": (S.WRONG_AMOUNT,),
    "bank": (S.DEBIT_ANNOUNCED,),
    "stopped": (S.WAITING_CHANNEL_STOPPED,),
}
SAMPLES = {
    "zh": {"channel": "支付宝"},
    "en": {"channel": "Alipay"},
}
FACTS = {
    "amount": "1,454.00",
    "received": "1,454.00",
    "expires": "14:30",
    "promise": "14:45",
    "settled": "14:05",
    "arrived": "14:52",
    "case": "F27145F8",
}
# Where another amount came than the one that is owed, or money came after the order's time.
OTHER_FACTS = {
    Situation.WRONG_AMOUNT: {"received": "1,454.01"},
    Situation.SETTLED_LATE: {"settled": "14:52"},
}
TIMES: tuple[tuple[ModuleType, tuple[str, ...]], ...] = (
    (
        query_schedule,
        (
            "PAYER_STEPS",
            "ASKING_STEPS",
            "QUERY_DELAYS",
            "QUERY_INTERVAL",
            "UNKNOWN_LIMIT",
            "QUERY_INTERVAL_WATCHING",
            "SEND_AGAIN_DELAYS",
            "NOT_THERE_MARGIN",
            "NOT_THERE_INTERVAL",
            "PROMISES",
            "PROMISE_INTERVAL",
            "NIGHT_BEGINS",
            "NIGHT_ENDS",
            "LATE_ASKS",
            "LATE_ASKS_LIMIT",
            "DECISION_DELAYS",
            "DECISION_INTERVAL",
            "DECISION_ASKS_BEFORE_ITEM",
        ),
    ),
    (situation, ("ASKING_LIMIT", "CLOSING_LIMIT")),
    (record_outcomes, ("CONTRADICTION_PAUSE",)),
)
# A day is called 24 h, as people say it.
UNITS = ((3_600, "h"), (60, "min"))


def documents(root: Path) -> dict[Path, str]:
    """The page with its generated passages."""
    text = (root / PAGE).read_text()
    told = {situation for situations in STORIES.values() for situation in situations}
    others = tuple(situation for situation in Situation if situation not in told)
    for story, situations in {**STORIES, "all others": others}.items():
        text = replace_between(text, f"words of {story}", _words(situations))
    text = replace_between(text, "times", _times())
    return {PAGE: replace_between(text, "channels", _channels())}


def _words(situations: tuple[Situation, ...]) -> str:
    rows = []
    for read in situations:
        text = TEXTS[read]
        zh, en = (_filled(words, read, name) for words, name in ((text.zh, "zh"), (text.en, "en")))
        rows.append((f"`{read.value}`", zh, en))
    return table(("situation", "中文", "English"), rows)


def _filled(words: Words, read: Situation, language: str) -> str:
    facts = FACTS | OTHER_FACTS.get(read, {}) | SAMPLES[language]
    headline, explanation = (part.format_map(facts) for part in (words.headline, words.explanation))
    return f"**{headline}**<br>{explanation}"


def _times() -> str:
    rows = [
        (f"`{name}`", _shown(getattr(module, name)), _reason(module, name))
        for module, names in TIMES
        for name in names
    ]
    return table(("constant", "value", "why"), rows)


def _shown(value: object) -> str:
    """`5 s`, or `1 s, 2 s, 5 s`, or `every 5 s until 30 s, then …`."""
    if isinstance(value, timedelta):
        return _duration(value)
    if isinstance(value, tuple) and isinstance(value[0], tuple):
        steps = [f"every {_duration(pause)} until {_duration(until)}" for until, pause in value]
        return ", ".join([*steps, "then `QUERY_INTERVAL`"])
    if isinstance(value, tuple):
        return ", ".join(_duration(part) for part in value)
    return str(value)


def _duration(value: timedelta) -> str:
    seconds = int(value.total_seconds())
    size, unit = next(((s, u) for s, u in UNITS if seconds and seconds % s == 0), (1, "s"))
    return f"{seconds // size} {unit}"


def _reason(module: ModuleType, name: str) -> str:
    """The comment above the constant, or above the ones that it stands together with."""
    above = re.search(
        rf"((?:^# .*\n)+)(?:^[A-Z_]+ = .*\n(?:^[ )].*\n)*)*?^{name} = ",
        inspect.getsource(module),
        re.MULTILINE,
    )
    if above is None:
        return "–"
    return " ".join(line.removeprefix("# ") for line in above[1].splitlines())


def _channels() -> str:
    rows = [_facts(channel) for channel in CHANNELS.values()]
    head = ("channel", "kind", "opens by", "amount", "sent again for", "refunds for", "bill")
    return table(head, rows)


def _facts(channel: Capabilities) -> tuple[str, ...]:
    methods = ", ".join(
        f"`{method.id}` ({method.opens_in.value.replace('_', ' ')})" for method in channel.methods
    )
    refunds = f"{channel.refund_window.days} d" if channel.refund_window else "–"
    return (
        f"`{channel.id}` {channel.name.zh}",
        channel.kind.value,
        methods or "starts by itself",
        f"{channel.minimum.yuan} to {channel.maximum.yuan} yuan",
        _duration(channel.idempotency_window),
        refunds,
        "yes" if channel.has_bill else "no",
    )
