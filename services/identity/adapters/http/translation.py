"""Refusals in the language that the request asks for, counted by their code."""

from collections.abc import AsyncIterator

from fastapi import Request

from services.identity.adapters.metrics import REFUSED_REQUESTS
from services.identity.application.refusals import OUTAGES, REFUSALS
from shared.kernel.errors import Refused, Unavailable
from shared.kernel.wording import Language
from shared.runtime.http.languages import language_of
from shared.runtime.keys.tokens import TokenRefused

UNAUTHORIZED = 401


async def translated(request: Request) -> AsyncIterator[None]:
    """A dependency around each endpoint: what it raises of ours leaves in the right language."""
    try:
        yield
    except Refused as refusal:
        raise _refusal(refusal, language_of(request)) from refusal
    except Unavailable as outage:
        raise _outage(outage, language_of(request)) from outage


def _refusal(refusal: Refused, language: Language) -> Refused | TokenRefused:
    text = REFUSALS.get(refusal.code)
    if text is None:
        return refusal
    REFUSED_REQUESTS.labels(refusal.code).inc()
    detail = text.english if language == "en" else text.chinese
    if refusal.status == UNAUTHORIZED:
        # Says WWW-Authenticate as well, as every 401 must.
        return TokenRefused(refusal.code, detail)
    return Refused(refusal.code, detail, status=refusal.status, extra=refusal.extra)


def _outage(outage: Unavailable, language: Language) -> Unavailable:
    text = OUTAGES.get(outage.code)
    if text is None:
        return outage
    REFUSED_REQUESTS.labels(outage.code).inc()
    detail = text.english if language == "en" else text.chinese
    return Unavailable(outage.code, detail, retry_after_seconds=outage.retry_after_seconds)
