"""Pure rules: codes, refresh verdicts, days of the SMS budget, languages, client addresses."""

from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_network
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from services.identity.adapters.http.client_address import budget_name
from services.identity.domain.one_time_code import CodeRequest, Purpose, new_code
from services.identity.domain.refusal import OUTAGES, REFUSALS
from services.identity.domain.session import RefreshVerdict, ShownToken
from services.identity.domain.sms_limits import budget_day, seconds_to_next_day
from shared.runtime.http.client_address import ClientAddresses
from shared.runtime.http.languages import preferred_language

NOW = datetime(2026, 11, 24, 4, 30, tzinfo=UTC)
IDLE = timedelta(days=30)
SECOND = timedelta(seconds=1)


def test_codes_are_six_digits_and_leading_zeros_count() -> None:
    codes = [new_code() for _ in range(2_000)]

    assert all(len(code) == 6 and code.isdecimal() and code.isascii() for code in codes)
    assert len(set(codes)) > 1_900
    assert {code[0] for code in codes} == set("0123456789")


def test_what_is_stored_for_a_code_differs_for_each_thing_it_is_bound_to() -> None:
    request = CodeRequest(uuid4(), Purpose.LOGIN, b"a" * 32)
    others = [
        CodeRequest(uuid4(), Purpose.LOGIN, b"a" * 32),
        CodeRequest(request.request_id, Purpose.LOGIN, b"b" * 32),
    ]

    bindings = {request.binding("123456"), request.binding("123457")}
    bindings |= {other.binding("123456") for other in others}

    assert len(bindings) == 4
    assert "login" in request.binding("123456")


def a_token(
    *,
    issued_at: datetime = NOW - timedelta(hours=1),
    used_at: datetime | None = None,
    ended_at: datetime | None = None,
    **more: Any,
) -> ShownToken:
    return ShownToken(UUID(int=1), UUID(int=2), issued_at, used_at, ended_at, **more)


@pytest.mark.parametrize(
    ("token", "verdict"),
    [
        (a_token(), RefreshVerdict.ROTATE),
        (a_token(issued_at=NOW - IDLE), RefreshVerdict.ENDED),
        (a_token(issued_at=NOW - IDLE + SECOND), RefreshVerdict.ROTATE),
        (a_token(ended_at=NOW - SECOND), RefreshVerdict.ENDED),
        (a_token(ended_at=NOW - SECOND, used_at=NOW - SECOND), RefreshVerdict.ENDED),
        (a_token(used_at=NOW - SECOND), RefreshVerdict.REUSED),
        (a_token(used_at=NOW), RefreshVerdict.REUSED),
        (a_token(used_at=NOW + SECOND), RefreshVerdict.OVERTAKEN),
        (a_token(used_at=NOW, is_last_used=True), RefreshVerdict.REPEAT),
        (a_token(used_at=NOW, is_last_used=True, is_void=True), RefreshVerdict.REUSED),
        (a_token(used_at=NOW - 28 * SECOND, is_last_used=True), RefreshVerdict.REPEAT),
        (a_token(used_at=NOW - 29 * SECOND, is_last_used=True), RefreshVerdict.REUSED),
        (a_token(used_at=NOW + SECOND, is_last_used=True), RefreshVerdict.OVERTAKEN),
        (a_token(used_at=NOW, is_last_used=True, ended_at=NOW), RefreshVerdict.ENDED),
        (a_token(used_at=NOW - SECOND, repeated_at=NOW), RefreshVerdict.REUSED),
        (a_token(used_at=NOW - SECOND, repeated_at=NOW + SECOND), RefreshVerdict.OVERTAKEN),
    ],
)
def test_a_shown_refresh_token_gets_its_verdict(token: ShownToken, verdict: RefreshVerdict) -> None:
    assert token.judge(arrived_at=NOW, now=NOW + SECOND, idle=IDLE + SECOND) is verdict


def test_the_budget_day_changes_at_midnight_in_china() -> None:
    before = datetime(2026, 11, 24, 15, 59, 59, tzinfo=UTC)

    assert budget_day(before) == date(2026, 11, 24)
    assert budget_day(before + SECOND) == date(2026, 11, 25)
    assert seconds_to_next_day(before) == 1
    assert seconds_to_next_day(before + SECOND) == 24 * 60 * 60


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "zh"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en", "en"),
        ("en-GB,en;q=0.9,zh;q=0.8", "en"),
        ("en;q=0.1,zh;q=0", "en"),
        ("en,zh", "zh"),
        ("fr,de", "zh"),
        ("en;q=nan, zh;q=0.1", "zh"),
        ("en;q=5, *;q=x;;,,", "zh"),
    ],
)
def test_chinese_unless_english_is_asked_for(header: str, language: str) -> None:
    assert preferred_language(header) == language


ADDRESSES = ClientAddresses([ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8")])


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.7"], "203.0.113.9"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", ["1.1.1.1, 198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", ["1.1.1.1", "198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("127.0.0.1", ["1.1.1.1, garbage"], "127.0.0.1"),
        ("127.0.0.1", ["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", [], "203.0.113.9"),
        (None, ["198.51.100.7"], "unknown"),
        # Forms that proxies write: Azure's gateway and AWS's balancer add the port.
        ("10.0.0.2", ["198.51.100.7:51234"], "198.51.100.7"),
        ("10.0.0.2", ["[2001:db8:1:2::7]:51234"], "2001:db8:1:2::/64"),
        ("10.0.0.2", ["[2001:db8:1:2::7]"], "2001:db8:1:2::/64"),
        ("10.0.0.2", ["[::ffff:198.51.100.7]:1"], "198.51.100.7"),
        ("10.0.0.2", ["1.1.1.1, 198.51.100.7:51234, 10.0.0.3:80"], "198.51.100.7"),
        ("127.0.0.1", ["198.51.100.7:"], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.7:123456"], "127.0.0.1"),
        ("127.0.0.1", ["[198.51.100.7]:80"], "127.0.0.1"),
        ("127.0.0.1", ["[2001:db8::7"], "127.0.0.1"),
        ("127.0.0.1", ["localhost:80"], "127.0.0.1"),
    ],
)
def test_only_trusted_proxies_may_say_who_the_client_is(
    peer: str | None, forwarded: list[str], address: str
) -> None:
    assert budget_name(ADDRESSES.of(peer, forwarded)) == address


@pytest.mark.parametrize(
    ("peer", "forwarded", "count"),
    [
        ("127.0.0.1", ["garbage"], 1),
        ("127.0.0.1", ["198.51.100.7, garbage"], 1),
        ("127.0.0.1", ["unknown, 10.0.0.2"], 1),
        ("127.0.0.1", [""], 1),
        ("127.0.0.1", ["198.51.100.7:51234"], 0),
        ("127.0.0.1", ["garbage, 198.51.100.7"], 0),
        ("203.0.113.9", ["garbage"], 0),
        ("127.0.0.1", [], 0),
    ],
)
def test_what_a_trusted_proxy_wrote_and_nobody_can_read_is_logged_and_counted(
    peer: str, forwarded: list[str], count: int
) -> None:
    counted: list[bool] = []
    addresses = ClientAddresses(
        [ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8")],
        count_unreadable=lambda: counted.append(True),
    )

    with capture_logs() as logs:
        addresses.of(peer, forwarded)

    assert len(counted) == count
    assert [line["event"] for line in logs] == ["forwarded_for_unreadable"] * count
    assert "garbage" not in str(logs)


def test_every_refusal_has_both_languages() -> None:
    for wording in [*(wording for _, wording in REFUSALS.values()), *OUTAGES.values()]:
        assert any("\u4e00" <= character <= "\u9fff" for character in wording.zh)
        assert wording.en.isascii()
    assert all(400 <= status <= 499 for status, _ in REFUSALS.values())
