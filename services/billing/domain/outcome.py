"""Outcome: what the facts that payment tells do to a contribution and its payment request.

Facts of an order are applied in ascending sequence and each once; what cannot be true beside
what is recorded raises Contradiction.
"""

from uuid import UUID

from msgspec.structs import replace

from services.billing.domain.contribution import (
    REFUNDED,
    Contribution,
    ContributionStatus,
    pay,
    reopen,
)
from services.billing.domain.money_decision import Decision
from services.billing.domain.payment_request import (
    PaymentRequest,
    PaymentRequestStatus,
    failed,
    settled,
)
from shared.kernel.errors import Contradiction
from shared.kernel.events import (
    PaymentFailed,
    PaymentRefunded,
    PaymentSettled,
    UnexpectedMoneyReceived,
)
from shared.kernel.money import Money

Fact = PaymentSettled | PaymentFailed | UnexpectedMoneyReceived | PaymentRefunded

STILL_OWED = "still_owed"
NOT_OWED = "not_owed"
WRONG_AMOUNT = "wrong_amount"
WENT_BACK = "went_back"


def check_known(
    fact: Fact, contribution: Contribution | None, request: PaymentRequest | None
) -> tuple[Contribution, PaymentRequest]:
    """Return both rows; raise Contradiction where the fact names others than billing asked for."""
    if contribution is None or request is None:
        raise Contradiction(f"{fact.type}: billing never asked for order {fact.payment_order_id}")
    named = (fact.contribution_id, fact.insured_person_id)
    if named != (request.contribution_id, request.insured_person_id):
        raise Contradiction(f"{fact.type} of order {fact.payment_order_id} names another bill")
    return contribution, request


def check_amount(fact: PaymentSettled | PaymentFailed, request: PaymentRequest) -> None:
    """The outcome of an order is about exactly the amount that was asked for."""
    if (fact.amount_fen, fact.currency) != (request.amount.fen, request.currency):
        raise Contradiction(
            f"{fact.type} of order {fact.payment_order_id} is about {fact.amount_fen} fen, "
            f"asked were {request.amount.fen}"
        )


def settle(
    contribution: Contribution,
    request: PaymentRequest,
    fact: PaymentSettled,
    *,
    sequence: int,
    is_accepted: bool,
) -> tuple[Contribution, PaymentRequest]:
    """The channel's final confirmation pays the contribution.

    `is_accepted`: this attempt's money was accepted before, so the contribution is paid and
    only the request follows.
    """
    check_amount(fact, request)
    if sequence <= request.outcome_sequence:
        return contribution, request
    heard = replace(request, outcome_sequence=sequence)
    if request.status is PaymentRequestStatus.SETTLED and request.attempt_id == fact.attempt_id:
        return contribution, heard
    if request.status is PaymentRequestStatus.FAILED and not is_accepted:
        raise Contradiction(
            f"order {request.payment_order_id} had failed and is settled by money "
            f"that was never accepted (attempt {fact.attempt_id})"
        )
    if request.is_open:
        contribution = pay(contribution, attempt_id=fact.attempt_id, paid_at=fact.settled_at)
    return contribution, settled(heard, attempt_id=fact.attempt_id)


def fail(
    contribution: Contribution, request: PaymentRequest, fact: PaymentFailed, *, sequence: int
) -> tuple[Contribution, PaymentRequest]:
    """Collecting has stopped: the contribution is owed again."""
    check_amount(fact, request)
    if sequence <= request.outcome_sequence:
        return contribution, request
    heard = replace(request, outcome_sequence=sequence)
    if request.status is PaymentRequestStatus.FAILED:
        return contribution, heard
    ended = failed(heard, reason=fact.reason)
    return reopen(contribution, reason=fact.reason, can_retry=fact.can_retry), ended


def take_back(contribution: Contribution, *, attempt_id: UUID, refunded: Money) -> Contribution:
    """Owed again once all the money of the attempt that paid went back; others change nothing.

    `refunded` may have gone back before the settlement was heard: facts of different aggregates
    arrive in any order.
    """
    if contribution.paid_by_attempt_id == attempt_id and refunded >= contribution.amount:
        return reopen(contribution, reason=REFUNDED, can_retry=True)
    return contribution


def decide(
    contribution: Contribution,
    request: PaymentRequest,
    fact: UnexpectedMoneyReceived,
    *,
    refunded: Money,
) -> tuple[Decision, str] | None:
    """Accept what is still owed, reject the rest; None while this order's own outcome is missing.

    Payment repeats the question until it is answered, so waiting loses nothing.
    """
    if request.is_open:
        return None
    if fact.attempt_id in (contribution.paid_by_attempt_id, request.attempt_id):
        raise Contradiction(
            f"money of attempt {fact.attempt_id} is unexpected, but it settled its order"
        )
    if contribution.status is not ContributionStatus.ASSESSED:
        return Decision.REJECTED, NOT_OWED
    if (fact.amount_fen, fact.currency) != (contribution.amount.fen, contribution.currency):
        return Decision.REJECTED, WRONG_AMOUNT
    if refunded.fen:
        return Decision.REJECTED, WENT_BACK
    return Decision.ACCEPTED, STILL_OWED
