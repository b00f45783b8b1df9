"""Which paths the entry passes on, and that no spelling of `internal` is among them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entry.paths import service_of
from shared.catalogue import SERVICES


@pytest.mark.parametrize("service", SERVICES)
def test_a_path_goes_to_the_service_of_its_first_segment(service: str) -> None:
    assert service_of(f"/{service}/v1/things/1".encode()) == service


@pytest.mark.parametrize(
    "path",
    [
        b"/identity/v1/internal/contacts/1",
        b"/identity/v1/Internal/contacts/1",
        b"/identity/v1/INTERNAL",
        b"/identity/v1/internal/",
        b"/identity/v1/%69nternal/contacts/1",
        b"/identity/v1/%49NTERNAL/contacts/1",
        b"/identity/v1/%2569nternal/contacts/1",
        b"/identity/v1/%252569nternal/contacts/1",
        b"/identity/v1/%69%6e%74%65%72%6e%61%6c/contacts/1",
        b"/identity/v1%2finternal/contacts/1",
        b"/identity/v1%252Finternal/contacts/1",
        b"/identity/v1/internal%2fcontacts/1",
        b"/identity/v1//internal/contacts/1",
        b"/identity//v1/internal/contacts/1",
        b"//identity/v1/internal/contacts/1",
        b"/identity/v1/x/../internal/contacts/1",
        b"/identity/v1/./internal/contacts/1",
        b"/identity/v1/%2e/internal/contacts/1",
        b"/billing/../identity/v1/internal/contacts/1",
        b"/identity/v1/internal;a=b/contacts/1",
        b"/identity/v1/internal%3Ba/contacts/1",
        b"/identity/v1\\internal\\contacts",
        b"/identity/v1/%5cinternal/contacts",
        b"/identity/v1/internal%20/contacts/1",
        b"/identity/v1/%09internal/contacts/1",
        b"/identity/v1/internal%00/contacts/1",
    ],
)
def test_no_spelling_of_internal_is_passed_on(path: bytes) -> None:
    assert service_of(path) is None


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"/",
        b"*",
        b"/sandbox/v1/sms",
        b"/Identity/v1/me",
        b"/identity%2fv1",
        b"/%69dentity\xff",
    ],
)
def test_a_path_of_nobody_belongs_to_nobody(path: bytes) -> None:
    assert service_of(path) is None


@pytest.mark.parametrize(
    "path",
    [
        b"/identity/v1/.well-known/jwks.json",
        b"/billing/v1/contributions/0190-internals",
        b"/billing/v1/contributions/internal-7",
        b"/notifier/v1/a%20b",
        b"/payment/v1/orders/",
    ],
)
def test_an_ordinary_path_is_passed_on(path: bytes) -> None:
    assert service_of(path) is not None


@given(st.text(max_size=20), st.text(max_size=20), st.data())
def test_however_internal_is_encoded_it_is_not_passed_on(
    before: str, after: str, data: st.DataObject
) -> None:
    word = data.draw(st.sampled_from(["internal", "Internal", "INTERNAL"]))
    spelt = "".join(data.draw(st.sampled_from([c, f"%{ord(c):02x}"])) for c in word)
    path = f"/identity/{before}/{spelt}/{after}".encode("ascii", "ignore")

    assert service_of(path) is None
