"""Bad input never is a 500: schemathesis over every OpenAPI document, and what it cannot guess."""

import subprocess
import sys
import uuid
from pathlib import Path

import httpx2
import pytest

from devstack.plan import ROOT
from devstack.stack import Stack
from shared.catalogue import SERVICES
from tests.integration.support.people import People

EXAMPLES_MAX = 15
CHECKS = ",".join(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
        "missing_required_header",
        "unsupported_method",
        "ignored_auth",
    ]
)
DEADLINE_SECONDS = 180


@pytest.mark.parametrize("service", SERVICES)
def test_no_input_breaks_a_service_or_its_document(
    stack: Stack, people: People, service: str, tmp_path: Path
) -> None:
    person = people.somebody()
    url = f"{stack.urls[service]}/{service}/v1/openapi.json"

    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            url,
            "--header",
            f"Authorization: Bearer {person.token}",
            "--checks",
            CHECKS,
            "--phases",
            "examples,coverage,fuzzing",
            "--max-examples",
            str(EXAMPLES_MAX),
            "--seed",
            "20261124",
            "--warnings",
            "off",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'"x"', b"\xff", b'{"phone": "\\u0000"}'])
async def test_a_damaged_body_is_a_problem_document(http: httpx2.AsyncClient, body: bytes) -> None:
    answer = await http.post(
        "/identity/v1/sms-codes", content=body, headers={"Content-Type": "application/json"}
    )

    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json()["code"]


async def test_a_huge_body_is_refused_before_it_is_read(people: People) -> None:
    person = people.somebody()

    answer = await person.call(
        "POST",
        "/billing/v1/contributions",
        key=str(uuid.uuid4()),
        content=b'{"scheme": "' + b"x" * 100_000 + b'"}',
        headers={"Content-Type": "application/json"},
    )

    assert answer.status_code == 413, answer.text
    assert answer.json()["code"] == "body_too_large"


async def test_unknown_fields_and_malformed_ids_have_their_codes(people: People) -> None:
    person = people.somebody()

    extra = await person.call(
        "POST",
        "/billing/v1/contributions",
        key=str(uuid.uuid4()),
        json={
            "scheme": "flexible",
            "region": "110000",
            "period": "2026-11",
            "base_fen": 727_000,
            "amount_fen": 1,
        },
    )
    malformed = await person.call("GET", "/payment/v1/orders/not-an-id")
    no_key = await person.call("POST", f"/billing/v1/contributions/{uuid.uuid4()}/payment", json={})

    for answer in (extra, malformed, no_key):
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.json()["code"], answer.text
    assert no_key.json()["code"] == "idempotency_key_missing"


@pytest.mark.parametrize("service", SERVICES)
def test_a_missing_setting_is_one_sentence_and_exit_code_2(stack: Stack, service: str) -> None:
    environment = stack.environment_for(service, "api")
    del environment["SONGHE_DATABASE_URL"]

    done = subprocess.run(
        [sys.executable, "-m", f"services.{service}", "api"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 2
    assert "SONGHE_DATABASE_URL" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
