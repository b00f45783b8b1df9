"""Open orders that billing requested, and answer when it asks for an outcome again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from services.payment.application.ports import DueAttempt, FirstCalls, Unit
from services.payment.application.tell_outcomes import repeat_outcomes, tell_outcomes
from services.payment.domain.channel import Capabilities, ChannelKind
from services.payment.domain.opening import Opening, Origin, is_due, lease, open_order
from services.payment.domain.payment_attempt import Call
from services.payment.domain.payment_order import ask_again
from services.payment.domain.switch import Stopped
from shared.kernel.clock import Clock
from shared.kernel.events import Message, PaymentOutcomeAsked, PaymentRequested
from shared.kernel.ids import new_id

Request = TypeVar("Request", bound=PaymentRequested, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderOpener:
    """The two reactions that can open an order: the first to arrive opens it.

    Where this process also calls channels, `first_calls` begins each first attempt as soon as it is
    committed; without, and where there is no room, the loop over due attempts finds it.
    """

    channels: Mapping[str, Capabilities]
    default_channel: str
    clock: Clock
    first_calls: FirstCalls | None = None

    async def open_orders(self, unit: Unit, messages: Sequence[Message[PaymentRequested]]) -> None:
        """Open each order once, with its first attempt where the channel is direct.

        An order that exists stays as it is. Raises Malformed, or Contradiction where the
        contribution has another open order.
        """
        await self._open(unit, messages)

    async def answer_asks(
        self, unit: Unit, messages: Sequence[Message[PaymentOutcomeAsked]]
    ) -> None:
        """Open what is missing, leave what is open, and tell finished outcomes again.

        An ask whose sequence is not above the last one applied changes nothing.
        """
        opened = await self._open(unit, messages)
        asks = {m.body.payment_order_id: m.envelope.sequence for m in messages}
        known = await unit.orders.lock([order_id for order_id in asks if order_id not in opened])
        changes = [
            (order, asked)
            for order in known.values()
            if (asked := ask_again(order, asks[order.id])) is not None
        ]
        await unit.orders.save(changes)
        await repeat_outcomes(unit, [order for order, _ in changes if not order.is_open])

    async def _open(self, unit: Unit, messages: Sequence[Message[Request]]) -> set[UUID]:
        stopped = await unit.switches.stopped()
        openings = [self._opening(message, stopped) for message in messages]
        opened = await self._store(unit, openings)
        for opening in openings:
            if opening.order.id in opened:
                tell_outcomes(unit, None, opening.order)
        return opened

    async def _store(self, unit: Unit, openings: Sequence[Opening]) -> set[UUID]:
        """Insert them; as many first attempts as there is room for are called after the commit."""
        now = self.clock.now()
        due = [opening for opening in openings if is_due(opening, now)]
        reserved = self.first_calls.reserve(len(due)) if self.first_calls and due else None
        if reserved is None:
            return await unit.orders.open(openings)
        leased = {
            opening.order.id: lease(opening, reserved.lease, now=now)
            for opening in due[: reserved.room]
        }
        begun: list[DueAttempt] = []
        unit.at_end(lambda is_committed: reserved.end(begun if is_committed else ()))
        opened = await unit.orders.open(
            [leased.get(opening.order.id, opening) for opening in openings],
            lease_time=reserved.lease_time,
        )
        begun += [first_call(leased[id], reserved.lease) for id in opened & leased.keys()]
        return opened

    def _opening(self, message: Message[Request], stopped: Stopped) -> Opening:
        request, envelope = message.body, message.envelope
        channel_id = request.channel or self.default_channel
        channel = self.channels.get(channel_id)
        if channel is not None and channel.kind is ChannelKind.DIRECT and channel_id in stopped:
            # A cashier's order opens all the same: its payer may choose another channel.
            channel = None
        return open_order(
            request,
            origin=Origin(
                sequence=envelope.sequence,
                correlation_id=envelope.correlation_id,
                causation_id=envelope.event_id,
            ),
            channel_id=channel_id,
            channel=channel,
            attempt_id=new_id(),
            now=self.clock.now(),
        )


def first_call(opening: Opening, lease: UUID) -> DueAttempt:
    """What the loop would have claimed."""
    assert opening.attempt is not None
    return DueAttempt(
        attempt=opening.attempt,
        call=Call.START,
        lease=lease,
        payer_id=opening.order.payer_id,
        period=opening.order.period,
    )
