"""One-time codes: six random digits that prove, once and soon, who holds a phone.

Six digits are 19.9 bits, which OWASP ASVS 6.5 accepts together with few tries, one use and a
short life; NIST SP 800-63B allows ten minutes.
"""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

CODE_DIGITS = 6
CODE_LIFETIME = timedelta(minutes=5)
CODE_TRIES_MAX = 5


class Purpose(StrEnum):
    """What a code may be used for; one asked for another purpose does not work."""

    LOGIN = "login"


@dataclass(frozen=True, slots=True)
class CodeRequest:
    """What a code is bound to."""

    request_id: UUID
    purpose: Purpose
    phone_index: bytes

    def binding(self, code: str) -> str:
        """The text whose HMAC is stored in place of the code."""
        return f"{self.request_id}|{self.purpose}|{self.phone_index.hex()}|{code}"


def new_code() -> str:
    """Six digits, each equally likely, from the system's secure source."""
    return f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"
