"""What is counted in every process of billing."""

from services.billing.domain.contribution import CONTRIBUTION
from services.billing.domain.payment_request import PAYMENT_REQUEST
from shared.runtime.ground.metrics import declare_transitions


def declare_moves() -> None:
    declare_transitions(CONTRIBUTION)
    declare_transitions(PAYMENT_REQUEST)
