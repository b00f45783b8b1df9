"""What is counted in every process of billing."""

from services.billing.domain.contribution import CONTRIBUTION
from services.billing.domain.payment_request import PAYMENT_REQUEST
from shared.runtime.ground.metrics import count_transitions


def count_moves() -> None:
    count_transitions(CONTRIBUTION)
    count_transitions(PAYMENT_REQUEST)
