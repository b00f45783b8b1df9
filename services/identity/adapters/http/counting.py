"""Refusals, counted by their code."""

from collections.abc import AsyncIterator

from services.identity.adapters.metrics import REFUSED_REQUESTS
from shared.kernel.errors import WordedOutage, WordedRefusal


async def counted() -> AsyncIterator[None]:
    """A dependency around each endpoint: what it refuses in words of ours is counted."""
    try:
        yield
    except (WordedRefusal, WordedOutage) as refusal:
        REFUSED_REQUESTS.labels(refusal.code).inc()
        raise
