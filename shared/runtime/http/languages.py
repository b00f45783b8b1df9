"""Chinese first; English for who asks for it (RFC 9110, Accept-Language)."""

from typing import Annotated, Literal

from fastapi import Depends, Request

Language = Literal["zh", "en"]

HEADER_CHARACTERS_MAX = 256
ENTRIES_MAX = 16


def preferred_language(accept_language: str) -> Language:
    """English where the header ranks it above Chinese; anything unreadable counts for nothing."""
    best = {"zh": 0.0, "en": 0.0}
    for entry in accept_language[:HEADER_CHARACTERS_MAX].split(",")[:ENTRIES_MAX]:
        tag, _, parameter = entry.partition(";")
        language = tag.strip().lower().partition("-")[0]
        if language in best:
            best[language] = max(best[language], _quality(parameter))
    return "en" if best["en"] > best["zh"] else "zh"


def language_of(request: Request) -> Language:
    return preferred_language(request.headers.get("accept-language", ""))


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
