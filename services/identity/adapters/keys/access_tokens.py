"""Access tokens, signed with the newest key of the folder."""

from datetime import datetime
from uuid import UUID

from shared.runtime.keys.access_token import LIFETIME_SECONDS, SigningKeys, sign_access_token


class Es256AccessTokens:
    """The port `AccessTokens`: 15 minutes, so that a closed session ends everywhere soon."""

    lifetime_seconds = LIFETIME_SECONDS

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys

    def sign(self, *, insured_person_id: UUID, session_id: UUID, now: datetime) -> str:
        return sign_access_token(
            self._keys.newest,
            insured_person_id=insured_person_id,
            session_id=session_id,
            now=now,
            lifetime_seconds=self.lifetime_seconds,
        )
