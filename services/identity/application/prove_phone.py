"""Check an entered code: who enters the right one first holds the phone."""

from uuid import UUID

from services.identity.application.ports import CodeGone, Codes, CodeWrong, Vault
from services.identity.domain.one_time_code import Purpose
from services.identity.domain.phone import Phone
from services.identity.domain.refusal import refused


async def prove_phone(
    request_id: UUID, code: str, *, purpose: Purpose, codes: Codes, vault: Vault
) -> Phone:
    """The phone that the code was sent to; the code is used up.

    Raises Refused `code_wrong` while tries are left, else `code_expired`, which also covers a
    request that never was, so that request ids cannot be probed.
    """
    request = await codes.find(request_id, purpose)
    if request is None:
        raise refused("code_expired")
    verdict = await codes.try_code(request, vault.code_mac(request, code))
    match verdict:
        case CodeWrong(tries_left) if tries_left > 0:
            raise refused("code_wrong", tries_left=tries_left)
        case CodeWrong() | CodeGone():
            raise refused("code_expired")
    return vault.open(verdict.phone_sealed, request_id)
