"""People and sessions in PostgreSQL, within the transaction of the boundary."""

from datetime import datetime
from uuid import UUID

from services.identity.application.ports import Person
from services.identity.domain.session import EndReason, ShownToken
from shared.runtime.database.statements import Connection, Row, text
from shared.runtime.database.unit_of_work import Unit

ADD_PERSON = text(
    """
    INSERT INTO person (id, phone_sealed, phone_index, created_at)
    VALUES (:id, :phone_sealed, :phone_index, :created_at)
    ON CONFLICT (phone_index) DO NOTHING
    """
)
PERSON_BY_PHONE = text(
    "SELECT id, phone_sealed, created_at FROM person WHERE phone_index = :phone_index"
)
PERSON_BY_ID = text("SELECT id, phone_sealed, created_at FROM person WHERE id = :id")
RESEAL = text("UPDATE person SET phone_sealed = :phone_sealed WHERE id = :id")

OPEN_SESSION = text(
    "INSERT INTO session (id, person_id, opened_at) VALUES (:id, :person_id, :opened_at)"
)
IS_OPEN = text(
    "SELECT 1 FROM session WHERE id = :id AND person_id = :person_id AND ended_at IS NULL"
)
ADD_TOKEN = text(
    """
    INSERT INTO refresh_token (token_hash, session_id, issued_at)
    VALUES (:token_hash, :session_id, :issued_at)
    """
)
# The lock first, the token in a later statement: a use that committed while this one waited
# for the lock must be seen.
LOCK_SESSION = text(
    """
    SELECT id FROM session
    WHERE id = (SELECT session_id FROM refresh_token WHERE token_hash = :token_hash)
    FOR UPDATE
    """
)
SHOWN_TOKEN = text(
    """
    SELECT session.id, session.person_id, session.ended_at,
           refresh_token.issued_at, refresh_token.used_at,
           refresh_token.voided_at IS NOT NULL AS is_void,
           NOT EXISTS (
               SELECT FROM refresh_token AS other
               WHERE other.session_id = session.id
                 AND other.used_at >= refresh_token.used_at
                 AND other.token_hash <> refresh_token.token_hash
           ) AS is_last_used,
           (SELECT max(other.voided_at) FROM refresh_token AS other
            WHERE other.session_id = session.id) AS repeated_at
    FROM refresh_token JOIN session ON session.id = refresh_token.session_id
    WHERE refresh_token.token_hash = :token_hash
    """
)
MARK_USED = text("UPDATE refresh_token SET used_at = :now WHERE token_hash = :token_hash")
# Never before it was issued, though that was by another process's clock.
VOID_UNUSED = text(
    """
    UPDATE refresh_token SET used_at = GREATEST(:now, issued_at), voided_at = :now
    WHERE session_id = :session_id AND used_at IS NULL
    """
)
END_SESSION = text(
    """
    UPDATE session SET ended_at = :now, end_reason = :reason
    WHERE id = :id AND ended_at IS NULL
    """
)


class PostgresPeople:
    """The port `People`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find_or_add(self, person: Person, phone_index: bytes) -> Person:
        await self._connection.execute(
            ADD_PERSON,
            {
                "id": person.insured_person_id,
                "phone_sealed": person.phone_sealed,
                "phone_index": phone_index,
                "created_at": person.created_at,
            },
        )
        rows = await self._connection.execute(PERSON_BY_PHONE, {"phone_index": phone_index})
        return _person(rows.one())

    async def reseal(self, insured_person_id: UUID, phone_sealed: bytes) -> None:
        await self._connection.execute(
            RESEAL, {"id": insured_person_id, "phone_sealed": phone_sealed}
        )

    async def get(self, insured_person_id: UUID) -> Person | None:
        rows = await self._connection.execute(PERSON_BY_ID, {"id": insured_person_id})
        row = rows.one_or_none()
        return None if row is None else _person(row)


class PostgresSessions:
    """The port `Sessions`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def open(self, session_id: UUID, insured_person_id: UUID, now: datetime) -> None:
        await self._connection.execute(
            OPEN_SESSION, {"id": session_id, "person_id": insured_person_id, "opened_at": now}
        )

    async def is_open(self, session_id: UUID, insured_person_id: UUID) -> bool:
        rows = await self._connection.execute(
            IS_OPEN, {"id": session_id, "person_id": insured_person_id}
        )
        return rows.first() is not None

    async def add_token(self, session_id: UUID, token_hash: bytes, now: datetime) -> None:
        await self._connection.execute(
            ADD_TOKEN, {"token_hash": token_hash, "session_id": session_id, "issued_at": now}
        )

    async def lock_token(self, token_hash: bytes) -> ShownToken | None:
        await self._connection.execute(LOCK_SESSION, {"token_hash": token_hash})
        rows = await self._connection.execute(SHOWN_TOKEN, {"token_hash": token_hash})
        row = rows.one_or_none()
        if row is None:
            return None
        return ShownToken(
            session_id=row.id,
            insured_person_id=row.person_id,
            issued_at=row.issued_at,
            used_at=row.used_at,
            ended_at=row.ended_at,
            is_void=row.is_void,
            is_last_used=row.is_last_used,
            repeated_at=row.repeated_at,
        )

    async def mark_used(self, token_hash: bytes, now: datetime) -> None:
        await self._connection.execute(MARK_USED, {"token_hash": token_hash, "now": now})

    async def void_unused(self, session_id: UUID, now: datetime) -> None:
        await self._connection.execute(VOID_UNUSED, {"session_id": session_id, "now": now})

    async def end(self, session_id: UUID, reason: EndReason, now: datetime) -> bool:
        ended = await self._connection.execute(
            END_SESSION, {"id": session_id, "reason": str(reason), "now": now}
        )
        return bool(ended.rowcount)


class IdentityUnit:
    """The runtime's unit of work with this service's repositories on it."""

    def __init__(self, unit: Unit) -> None:
        self.people = PostgresPeople(unit.connection)
        self.sessions = PostgresSessions(unit.connection)


def _person(row: Row) -> Person:
    return Person(row.id, bytes(row.phone_sealed), row.created_at)
