"""What comes in and goes out over HTTP."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.identity.application.open_session import Tokens
from services.identity.domain.one_time_code import CODE_DIGITS
from shared.runtime.http.web import Strict

PHONE_EXAMPLE = "+8613800138000"
# Ours have 43 characters.
REFRESH_TOKEN_PATTERN = r"^[A-Za-z0-9_-]{20,128}$"


class NewSmsCode(Strict):
    """Phones are E.164."""

    phone: Annotated[
        str,
        Field(
            min_length=1,
            max_length=32,
            examples=[PHONE_EXAMPLE],
            description="E.164 and nothing else: no spaces, hyphens or invisible marks, as a "
            "clipboard may bring them; the page in front removes these and adds +86",
        ),
    ]
    purpose: Literal["login"]


class SmsCodeSent(BaseModel):
    """The same for every phone number, known or not."""

    request_id: UUID
    expires_in: Annotated[int, Field(description="seconds until the code stops working")]
    resend_after_seconds: int


class NewSession(Strict):
    request_id: UUID
    code: Annotated[str, Field(pattern=rf"^[0-9]{{{CODE_DIGITS}}}$", examples=["012345"])]


class RefreshRequest(Strict):
    refresh_token: Annotated[str, Field(pattern=REFRESH_TOKEN_PATTERN)]


class SessionTokens(BaseModel):
    """The refresh token works once: each refresh gives a new one."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: Annotated[int, Field(description="seconds until the access token expires")]
    refresh_token: str
    insured_person_id: UUID

    @classmethod
    def of(cls, tokens: Tokens) -> "SessionTokens":
        return cls(
            access_token=tokens.access_token,
            expires_in=tokens.expires_in,
            refresh_token=tokens.refresh_token,
            insured_person_id=tokens.insured_person_id,
        )


class Me(BaseModel):
    """The person who calls, with the phone number masked."""

    insured_person_id: UUID
    phone_masked: Annotated[str, Field(examples=["138****8000"])]
    created_at: datetime


class Contact(BaseModel):
    """For services that write to people; never for a browser."""

    insured_person_id: UUID
    phone: Annotated[str, Field(examples=[PHONE_EXAMPLE])]


class JwkSet(BaseModel):
    """Public keys (RFC 7517) that verify access tokens."""

    model_config = ConfigDict(extra="allow")

    keys: list[dict[str, Any]]
