"""A short run of `make fuzz`: no mutated callback is accepted as anything but its original."""

from pathlib import Path

import pytest

from services.payment.domain.channel_notification import RefusalReason
from services.payment.tests.fuzz.campaign import CHANNELS, build_target, run

CASES = 4_000
# What a run of this length surely meets; else the mutations have become too tame to prove much.
MET = {
    "alipay": {RefusalReason.MALFORMED, RefusalReason.SIGNATURE},
    "wechatpay": {
        RefusalReason.MALFORMED,
        RefusalReason.SIGNATURE,
        RefusalReason.UNKNOWN_KEY,
        RefusalReason.STALE,
        RefusalReason.PROBE,
        RefusalReason.DECRYPTION,
    },
}


@pytest.mark.parametrize("name", CHANNELS)
def test_no_mutated_callback_is_believed(name: str, tmp_path: Path) -> None:
    target = build_target(name, tmp_path)

    tally = run(target, name, seed=7, first=0, count=CASES)

    assert tally.forged == []
    assert tally.broken == []
    assert tally.case_count == CASES
    assert tally.accepted_count > 0
    assert tally.refused.keys() >= {reason.value for reason in MET[name]}
