"""The tools that damage things damage what they say, and the report says what was found."""

import asyncio
import json
import struct
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from devstack.plan import ROOT
from testing.checker import Kind
from tests.crash.__main__ import run_all
from tests.crash.faults.log_faults import cut_last_batches
from tests.crash.faults.points import POINT_SCENARIOS
from tests.crash.faults.proxy import CommitCutter
from tests.crash.own_faults import OwnFaults
from tests.crash.publish import publish
from tests.crash.report import Report, read_results
from tests.crash.run import Result, Sample, Sampler

GREEN = Result(
    name="kafka-killed",
    what="SIGKILL to the broker",
    mode="core",
    points=(),
    orders=5000,
    lost=0,
    doubled=0,
    stuck=0,
    wrong=0,
    recovery_seconds=4.25,
    rate_ratio=1.01,
    run_seconds=40.0,
    void=None,
    notes=(),
    violations=(),
    commit="1234567",
)


def test_a_segment_is_cut_at_a_batch_boundary_and_what_is_derived_is_removed(
    tmp_path: Path,
) -> None:
    batches = [struct.pack(">qi", 10 * number, 5) + b"batch" for number in range(4)]
    segment = tmp_path / "00000000000000000000.log"
    segment.write_bytes(b"".join(batches))
    for name in ("0.index", "0.timeindex", "40.snapshot", "leader-epoch-checkpoint"):
        (tmp_path / name).touch()

    cut_last_batches(tmp_path, 3)

    assert segment.read_bytes() == batches[0]
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {segment.name, "leader-epoch-checkpoint"}


def test_what_a_process_tells_of_its_own_failures_counts_from_the_beginning_of_a_run(
    tmp_path: Path,
) -> None:
    worker, database = tmp_path / "billing-worker.log", tmp_path / "postgres.log"
    worker.write_text('{"event": "due_loop_failed", "loop": "before"}\n')
    faults = OwnFaults(tmp_path)
    with worker.open("a") as log:
        log.write('{"event": "due_loop_failed", "error": "AttributeError()"}\n')
        log.write('{"event": "due_loop_failed", "error": "TimeoutError()"}\n')
        log.write('{"event": "dispatch_retries"}\n')
    (tmp_path / "payment-api.log").write_text('{"event": "component_ended"}\n')
    database.write_text("due_loop_failed\n")

    found = faults.violations()

    assert [(each.kind, each.subject) for each in found] == [
        (Kind.LOOP_FAILED, "billing-worker.log"),
        (Kind.LOOP_FAILED, "payment-api.log"),
    ]
    assert "AttributeError" in found[0].detail


async def test_the_proxy_forwards_until_it_swallows_the_answer_to_a_commit() -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            asked.append(data)
            writer.write(b"done " + data)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    cutter = CommitCutter("127.0.0.1", server.sockets[0].getsockname()[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", cutter.start())

    writer.write(b"COMMIT")
    answered = await reader.read(100)
    cutter.cut(1)
    writer.write(b"COMMIT")
    swallowed = await reader.read(100)

    assert (answered, swallowed, cutter.left) == (b"done COMMIT", b"", 0)
    assert asked == [b"COMMIT", b"COMMIT"]
    writer.close()
    server.close()
    cutter.stop()


def test_recovery_counts_until_what_was_requested_by_then_has_ended() -> None:
    sampler = Sampler("postgresql://nowhere")
    sampler.samples = [
        Sample(at=10, requested=100, ended=40),
        Sample(at=11, requested=200, ended=99),
        Sample(at=12, requested=300, ended=100),
        Sample(at=13, requested=400, ended=160),
    ]

    assert sampler.caught_up_after(9.5) == 2.5
    assert sampler.caught_up_after(11.5) is None
    assert sampler.rate(10, 13) == 40
    assert sampler.rate(10, 12) is None


@pytest.mark.parametrize(
    "red",
    [
        replace(GREEN, lost=1),
        replace(GREEN, doubled=1),
        replace(GREEN, stuck=1),
        replace(GREEN, wrong=1),
        replace(GREEN, void="nobody died"),
    ],
)
def test_one_red_or_void_scenario_makes_the_whole_run_red(red: Result, tmp_path: Path) -> None:
    report = Report(tmp_path)

    report.add(GREEN)
    was_green = report.is_green
    report.add(red)

    assert was_green
    assert not report.is_green


@pytest.mark.parametrize(
    ("answers", "is_green"),
    [
        ([replace(GREEN, void="nobody died"), GREEN], True),
        ([replace(GREEN, void="nobody died"), replace(GREEN, void="nobody died")], False),
        ([replace(GREEN, void="nobody died", lost=1)], False),
        ([replace(GREEN, doubled=1)], False),
    ],
)
def test_only_a_run_that_says_nothing_is_tried_once_more(
    answers: list[Result], is_green: bool, tmp_path: Path
) -> None:
    left = list(answers)

    was_green = run_all(POINT_SCENARIOS[:1], tmp_path, run=lambda _scenario, _stacks: left.pop(0))

    assert was_green is is_green
    assert left == []
    assert len(json.loads((tmp_path / "crash.json").read_text())["results"]) == 1


def test_the_report_is_a_table_json_and_a_picture(tmp_path: Path) -> None:
    report = Report(tmp_path)
    report.add(GREEN)

    report.write()

    assert json.loads((tmp_path / "crash.json").read_text())["results"][0]["orders"] == 5000
    assert (
        "| `kafka-killed` | 5,000 | 0 | 0 | 0 | 0 | 4.2 | 1.01 | 1234567 |"
        in (tmp_path / "crash.md").read_text()
    )
    assert ElementTree.fromstring((tmp_path / "crash.svg").read_text()).tag.endswith("svg")


def test_one_scenario_that_runs_again_replaces_its_own_line_only(tmp_path: Path) -> None:
    name = POINT_SCENARIOS[0].name
    red = replace(GREEN, name=name, lost=1)
    run_all(
        POINT_SCENARIOS[:2], tmp_path, run=lambda scenario, _: [red, GREEN][scenario.name != name]
    )

    now_green = replace(red, lost=0, commit="7654321")
    is_green = run_all(POINT_SCENARIOS[:1], tmp_path, run=lambda *_: now_green, keeps=True)

    assert is_green
    assert read_results(tmp_path) == [now_green, GREEN]


def test_a_run_without_a_scenario_is_not_green(tmp_path: Path) -> None:
    assert not Report(tmp_path).is_green


def test_results_are_published_into_the_document(tmp_path: Path) -> None:
    output, docs = tmp_path / "output", tmp_path / "docs"
    output.mkdir()
    docs.mkdir()
    report = Report(output)
    report.add(GREEN)
    report.write()
    (docs / "crash.md").write_text(
        "# a\n<!-- last results -->\nold\n<!-- end of last results -->\n"
    )

    publish(output, tmp_path)

    text = (docs / "crash.md").read_text()
    assert "kafka-killed" in text
    assert "old" not in text
    assert (docs / "crash.svg").exists()
    assert json.loads((docs / "crash.json").read_text())["results"]


def test_the_document_has_places_for_results() -> None:
    text = (ROOT / "docs" / "crash.md").read_text()

    for name in ("results", "mutations"):
        assert f"<!-- last {name} -->" in text
        assert f"<!-- end of last {name} -->" in text
