"""The second net over logs: what looks like a secret goes, whatever the field is called."""

import pytest

from shared.runtime.ground.logs import remove_personal_data


@pytest.mark.parametrize(
    "text",
    [
        "eyJhbGciOi.eyJzdWIiOi",
        "Bearer abcdefghij",
        "called 13800138000 twice",
        "+86 138 0013 8000",
        "11010519491231002X",
        "ticket=abc",
        "PASSWORD=abc",
        "redis://:hunter@cache/0",
        13_800_138_000,
    ],
)
def test_what_looks_like_a_secret_is_removed(text: str | int) -> None:
    event = remove_personal_data(None, "info", {"detail": text, "nested": {"of": [text]}})

    assert "[removed]" in event["detail"]
    assert "[removed]" in event["nested"]["of"][0]


@pytest.mark.parametrize(
    "text", ["request", "0190f3c2-a5b4-7c8e-9d10-a1b2c3d4e5f6", 200, 0.5, None]
)
def test_everything_else_stays_as_it_is(text: object) -> None:
    assert remove_personal_data(None, "info", {"detail": text}) == {"detail": text}


def test_a_field_whose_name_is_a_secrets_is_blank_each_time() -> None:
    for _ in range(2):
        event = remove_personal_data(None, "info", {"sms_code": "x", "status_code": "y"})
        assert event == {"sms_code": "[removed]", "status_code": "y"}
