"""The words, from `templates/<language>.toml`; a text that misses a variable fails loudly."""

import tomllib
from datetime import datetime
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template, meta

from services.notifier.application.ports import InboxText, SmsText
from services.notifier.domain.notifications import (
    Bill,
    Facts,
    Told,
    sms_template,
)
from shared.kernel.money import Money
from shared.kernel.wording import Language, clock_words, month_words, order_number

TEMPLATES = files("services.notifier") / "templates"


class JinjaTexts:
    """All texts in all languages, compiled once. Plain text: whoever shows it in HTML escapes."""

    def __init__(self, *, hotline: str) -> None:
        self._languages = {
            language: LanguageTexts(language, hotline=hotline) for language in Language
        }

    def inbox(self, told: Told, language: Language) -> InboxText:
        return self._languages[language].inbox(told)

    def sms(self, told: Told, language: Language) -> SmsText:
        return self._languages[language].sms(told)


class LanguageTexts:
    """The texts of one language."""

    def __init__(self, language: Language, *, hotline: str) -> None:
        source = load(language)
        self._language = language
        environment = Environment(undefined=StrictUndefined, autoescape=False)
        compiled = environment.from_string
        self._hotline = hotline
        self._this_period: str = source["this_period"]
        self._ask = compiled(source["ask"])
        self._bills = {role: compiled(text) for role, text in source["bill"].items()}
        self._inbox = {
            name: (compiled(words["title"]), compiled(words["text"]))
            for name, words in source["inbox"].items()
        }
        self._signature: str = source["sms"]["signature"]
        texts = {name: text for name, text in source["sms"].items() if name != "signature"}
        self._sms: dict[str, Template] = {name: compiled(text) for name, text in texts.items()}
        self._sms_variables = {
            name: meta.find_undeclared_variables(environment.parse(text))
            for name, text in texts.items()
        }
        self._failures: dict[str, dict[str, Any]] = source["failure_reasons"]
        self._refunds: dict[str, str] = source["refund_reasons"]

    def inbox(self, told: Told) -> InboxText:
        title, text = self._inbox[told.template]
        values: dict[str, object] = {
            **self._variables(told),
            "can_retry": told.facts.can_retry,
            "provisional": told.facts.provisional,
            "replaces_earlier": told.facts.replaces_earlier,
            "not_charged": self._failure(told.facts)["not_charged"],
        }
        values["bill"] = self._bills[told.role].render(values)
        values["ask"] = self._ask.render(values) if told.payment_order_id else ""
        return InboxText(title=_sentence(title.render(values)), text=_sentence(text.render(values)))

    def sms(self, told: Told) -> SmsText:
        name = sms_template(told)
        used = self._sms_variables[name]
        variables = {key: value for key, value in self._variables(told).items() if key in used}
        text = self._sms[name].render(variables)
        return SmsText(template=name, variables=variables, text=self._signature + text)

    def _variables(self, told: Told) -> dict[str, str]:
        variables = {
            "period": self._period_words(told.bill),
            "amount": Money(told.facts.amount_fen).yuan,
            "hotline": self._hotline,
        }
        if told.payment_order_id is not None:
            variables["order"] = order_number(told.payment_order_id)
        if told.facts.next_update_by is not None:
            variables["next_update"] = self._clock_words(told.facts.next_update_by, told)
        if told.facts.reason is not None:
            variables["reason"] = self._reason_words(told.template, told.facts)
        return variables

    def _period_words(self, bill: Bill | None) -> str:
        return month_words(bill.period, self._language) if bill else self._this_period

    def _clock_words(self, instant: datetime, told: Told) -> str:
        """With the date where that is not the day on which it is told."""
        return clock_words(instant, language=self._language, now=told.occurred_at)

    def _reason_words(self, template: str, facts: Facts) -> str:
        if template == "payment_refunded":
            return self._refunds.get(facts.reason or "", self._refunds["other"])
        words: str = self._failure(facts)["words"]
        return words

    def _failure(self, facts: Facts) -> dict[str, Any]:
        return self._failures.get(facts.reason or "", self._failures["other"])


def load(language: Language) -> dict[str, Any]:
    """The file of one language as it is written."""
    return tomllib.loads((TEMPLATES / f"{language}.toml").read_text(encoding="utf-8"))


def _sentence(text: str) -> str:
    """One line that begins with a capital where the language has them."""
    line = " ".join(text.split())
    return line[:1].upper() + line[1:]
