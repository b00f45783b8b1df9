"""One stored sample of every event type and version since the first release is read for ever.

A sample is written once, by hand, with the change that adds a type or a version. It is never
changed: records like it lie in topics and outboxes. `PaymentSettled.v1+channel` is the same version
with fields that an older reader may ignore.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from shared.kernel.events import EVENT_TYPES, decode, encode_body, encode_headers

GOLDEN = Path(__file__).parent / "golden"
SAMPLES = sorted(GOLDEN.glob("*.json"))


def read(sample: Path) -> tuple[list[tuple[str, bytes]], dict[str, Any]]:
    stored = json.loads(sample.read_text())
    return [(name, value.encode()) for name, value in stored["headers"].items()], stored["body"]


def test_every_type_and_version_has_a_sample() -> None:
    expected = {
        f"{name}.v{version}.json"
        for name, kind in EVENT_TYPES.items()
        for version in range(1, kind.version + 1)
    }

    assert expected <= {sample.name for sample in SAMPLES}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_a_stored_sample_is_read_without_a_loss(sample: Path) -> None:
    headers, body = read(sample)
    name, _, version = sample.stem.partition("+")[0].partition(".v")

    told = decode(headers, json.dumps(body).encode())

    assert (told.envelope.type, told.envelope.schema_version) == (name, int(version))
    assert type(told.body) is EVENT_TYPES[name]
    assert set(headers) <= set(encode_headers(told.envelope))
    assert body.items() <= json.loads(encode_body(told.body)).items()
