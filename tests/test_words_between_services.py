"""What one service names, another has words for, though neither imports the other."""

import pytest

from services.notifier.adapters.jinja_texts import load
from services.payment.domain.failure_reason import FailureReason
from shared.kernel.wording import Language


@pytest.mark.parametrize("language", list(Language))
def test_every_reason_that_payment_gives_has_words_in_the_notifier(language: Language) -> None:
    reasons = {reason.value for reason in FailureReason}

    assert reasons <= load(language)["failure_reasons"].keys()
