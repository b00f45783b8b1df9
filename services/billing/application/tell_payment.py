"""Tell payment what to collect: the request once, then the same again whenever we ask."""

from services.billing.application.ports import Unit
from services.billing.domain.payment_request import PaymentRequest
from shared.kernel.events import PaymentOutcomeAsked, PaymentRequested
from shared.kernel.ids import event_id


def tell_requested(unit: Unit, request: PaymentRequest) -> None:
    unit.emit(
        PaymentRequested(
            payment_order_id=request.payment_order_id,
            contribution_id=request.contribution_id,
            insured_person_id=request.insured_person_id,
            payer_id=request.payer_id,
            amount_fen=request.amount.fen,
            currency=request.currency,
            scheme=request.scheme,
            region=request.region,
            period=request.period,
            channel=request.channel,
            expires_at=request.expires_at,
        ),
        subject=request.payment_order_id,
        sequence=request.version,
        correlation_id=request.correlation_id,
    )


def tell_asked(unit: Unit, request: PaymentRequest) -> None:
    """The whole request goes along: payment may never have heard of it."""
    unit.emit(
        PaymentOutcomeAsked(
            payment_order_id=request.payment_order_id,
            contribution_id=request.contribution_id,
            insured_person_id=request.insured_person_id,
            payer_id=request.payer_id,
            amount_fen=request.amount.fen,
            currency=request.currency,
            scheme=request.scheme,
            region=request.region,
            period=request.period,
            channel=request.channel,
            expires_at=request.expires_at,
            ask_count=request.ask_count,
        ),
        subject=request.payment_order_id,
        sequence=request.version,
        correlation_id=request.correlation_id,
        causation_id=event_id(PaymentRequested.type, request.payment_order_id, 1),
    )
