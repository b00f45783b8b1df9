"""Chinese first; English for whoever asks for it (RFC 9110, Accept-Language)."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, Request

from shared.kernel.errors import Refused, Unavailable, WordedOutage, WordedRefusal
from shared.kernel.wording import Language
from shared.runtime.keys.tokens import TokenRefused

HEADER_CHARACTERS_MAX = 256
ENTRIES_MAX = 16
UNAUTHORIZED = 401
LANGUAGES = {language.value: language for language in Language}


def preferred_language(accept_language: str) -> Language:
    """English where the header ranks it above Chinese; anything unreadable counts for nothing."""
    best = dict.fromkeys(Language, 0.0)
    for entry in accept_language[:HEADER_CHARACTERS_MAX].split(",")[:ENTRIES_MAX]:
        tag, _, parameter = entry.partition(";")
        language = LANGUAGES.get(tag.strip().lower().partition("-")[0])
        if language is not None:
            best[language] = max(best[language], _quality(parameter))
    return Language.EN if best[Language.EN] > best[Language.ZH] else Language.ZH


def language_of(request: Request) -> Language:
    return preferred_language(request.headers.get("accept-language", ""))


@contextmanager
def in_language(language: Language) -> Iterator[None]:
    """What is refused inside in words of ours leaves in that language; a 401 with its challenge."""
    try:
        yield
    except WordedRefusal as refusal:
        detail = refusal.wording.in_language(language)
        if refusal.status == UNAUTHORIZED:
            raise TokenRefused(refusal.code, detail) from refusal
        raise Refused(refusal.code, detail, status=refusal.status, extra=refusal.extra) from refusal
    except WordedOutage as outage:
        detail, seconds = outage.wording.in_language(language), outage.retry_after_seconds
        raise Unavailable(outage.code, detail, retry_after_seconds=seconds) from outage


async def in_callers_language(request: Request) -> AsyncIterator[None]:
    """A dependency around every endpoint: what it refuses is said in the caller's language."""
    with in_language(language_of(request)):
        yield


async def _language_of(request: Request) -> Language:
    return language_of(request)


# Async, since FastAPI runs a plain dependency in a thread, which costs more than this does.
PreferredLanguage = Annotated[Language, Depends(_language_of)]


def _quality(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if not name:
        return 1.0
    try:
        quality = float(value) if name.strip() == "q" else 0.0
    except ValueError:
        return 0.0
    return quality if 0.0 <= quality <= 1.0 else 0.0
