"""The HTTP endpoint of notifier: a person's own inbox."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from services.notifier.adapters.http.cursor import CURSOR_CHARACTERS_MAX, read_cursor, write_cursor
from services.notifier.adapters.http.models import NotificationOut, NotificationPage
from services.notifier.application.list_notifications import list_notifications
from services.notifier.application.ports import Texts, Transactions
from shared.runtime.http.languages import PreferredLanguage
from shared.runtime.http.parts import OWN_CACHE, parts_of
from shared.runtime.http.web import Person

LIMIT_MAX = 100


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the endpoint works with; `main` puts it on the application."""

    transactions: Transactions
    texts: Texts


Here = Annotated[Parts, Depends(parts_of)]
router = APIRouter(prefix="/notifier/v1")


@router.get("/notifications")
async def list_own_notifications(
    person: Person,
    language: PreferredLanguage,
    response: Response,
    here: Here,
    cursor: Annotated[str | None, Query(max_length=CURSOR_CHARACTERS_MAX)] = None,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = 20,
) -> NotificationPage:
    """What the caller was told, newest first; an SMS is shown beside the same news."""
    response.headers["Cache-Control"] = OWN_CACHE
    response.headers["Vary"] = "Accept-Language"
    page = await list_notifications(
        here.transactions,
        person_id=person.insured_person_id,
        limit=limit,
        before=read_cursor(cursor) if cursor is not None else None,
    )
    return NotificationPage(
        items=[NotificationOut.of(entry, here.texts, language) for entry in page.entries],
        next_cursor=write_cursor(page.next_place) if page.next_place else None,
    )
