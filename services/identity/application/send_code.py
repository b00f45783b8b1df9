"""Send a one-time code by SMS: the same answer and the same work for every phone number."""

from dataclasses import dataclass
from uuid import UUID, uuid4

from services.identity.application.ports import (
    CodeMessage,
    Codes,
    PendingCode,
    PhoneNumbers,
    SmsBudget,
    SmsGateway,
    SmsOutcome,
    SmsSlot,
    SmsSlots,
    Vault,
)
from services.identity.domain.one_time_code import CODE_LIFETIME, CodeRequest, Purpose, new_code
from services.identity.domain.phone import Phone
from services.identity.domain.refusal import outage, refused
from services.identity.domain.sms_limits import SmsLimits, seconds_to_next_day
from shared.kernel.clock import Clock
from shared.kernel.errors import Unavailable


@dataclass(frozen=True, slots=True)
class CodeSent:
    """What the person may do next, and when."""

    request_id: UUID
    expires_in: int
    resend_after_seconds: int


@dataclass(frozen=True, kw_only=True)
class SendCode:
    """Limits first, then the code, then the SMS; people are not looked up at all.

    No database connection is held while the gateway is called.
    """

    phone_numbers: PhoneNumbers
    vault: Vault
    codes: Codes
    slots: SmsSlots
    budget: SmsBudget
    gateway: SmsGateway
    limits: SmsLimits
    clock: Clock

    async def __call__(
        self, phone_text: str, *, purpose: Purpose, client_address: str, language: str
    ) -> CodeSent:
        """Raises Refused for a bad number or a limit, Unavailable where no SMS can be sent."""
        phone = self.phone_numbers.accept(phone_text)
        request = CodeRequest(uuid4(), purpose, self.vault.index(phone))
        slot = SmsSlot(
            taken_by=request.request_id,
            phone_index=request.phone_index,
            address_index=self.vault.index_address(client_address),
        )
        await self._take(slot)
        code = new_code()
        await self._keep(slot, request, phone, code)
        message = CodeMessage(request.request_id, phone, purpose, code, language)
        await self._settle(await self.gateway.send(message), slot, request)
        return CodeSent(
            request_id=request.request_id,
            expires_in=int(CODE_LIFETIME.total_seconds()),
            resend_after_seconds=int(self.limits.resend_after.total_seconds()),
        )

    async def _take(self, slot: SmsSlot) -> None:
        await self.slots.take(slot)
        now = self.clock.now()
        try:
            taken = await self.budget.take(now)
        except BaseException:
            await self.slots.give_back(slot)
            raise
        if not taken:
            await self.slots.give_back(slot)
            raise refused("sms_daily_limit_reached", retry_after_seconds=seconds_to_next_day(now))

    async def _keep(self, slot: SmsSlot, request: CodeRequest, phone: Phone, code: str) -> None:
        # Kept before it is sent: the SMS may arrive before the gateway's answer does.
        pending = PendingCode(
            request=request,
            mac=self.vault.code_mac(request, code),
            phone_sealed=self.vault.seal(phone, request.request_id),
        )
        try:
            await self.codes.keep(pending)
        except Unavailable:
            await self.budget.give_back(self.clock.now())
            raise

    async def _settle(self, outcome: SmsOutcome, slot: SmsSlot, request: CodeRequest) -> None:
        if outcome in (SmsOutcome.ACCEPTED, SmsOutcome.UNKNOWN):
            # Unknown: the code may well arrive; if not, the person asks again after the wait.
            return
        await self.codes.drop(request)
        if outcome is SmsOutcome.NOT_SENT:
            await self.slots.give_back(slot)
            await self.budget.give_back(self.clock.now())
        else:
            await self.slots.waive_wait(slot)
        raise outage("sms_unavailable")
