"""Poison is parked, its key waits, everything else flows; a bad release parks nothing."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from devstack.stack import Stack
from testing.eventually import eventually
from testing.long_form import form
from tests.integration.support.letters import open_letters, operate
from tests.integration.support.load import crowd, pay_all, statuses, until_all_paid
from tests.integration.support.people import People, Person
from tests.integration.support.topics import Record, send, until_consumed
from tests.integration.support.workers import faulty_worker

GOOD_COUNT = form(short=100, long=1000)
TOPIC_OF = {"billing": "payment.orders", "payment": "billing.contributions"}


async def test_poison_among_many_good_records_stops_only_its_own_key(
    stack: Stack, people: People, tmp_path: Path
) -> None:
    good = await crowd(people, GOOD_COUNT)
    raising = {service: await crowd(people, 3) for service in ("billing", "payment", "notifier")}
    garbled = {service: await crowd(people, 3) for service in ("billing", "payment")}
    once = await crowd(people, 3)
    with _faulty_workers(stack, tmp_path, raising, once):
        for service, persons in garbled.items():
            send(stack.plan().kafka_bootstrap_servers, _garbage(TOPIC_OF[service], persons))
        everybody = [*good, *once]
        for persons in [*raising.values(), *garbled.values()]:
            everybody += persons
        await pay_all(everybody)

        await until_all_paid(stack, [*good, *once, *raising["notifier"]], within_seconds=150)
        await _until_parked(stack, raising, garbled)

        assert statuses(stack, raising["payment"]) == {"PAYMENT_PENDING": 3}
        _mend(tmp_path)
        for service in ("payment", "billing", "notifier"):
            for letter in open_letters(stack, service):
                if letter.event_type is None:
                    operate(
                        stack, service, "dead-letters", "discard", str(letter.id),
                        "--reason", "garbage",
                    )  # fmt: skip
            operate(stack, service, "dead-letters", "replay", "--all")
            await until_consumed(stack.plan().kafka_bootstrap_servers, stack.databases)

        await until_all_paid(stack, everybody)
    for service in ("billing", "payment", "notifier"):
        assert open_letters(stack, service) == []


async def test_a_consumer_that_fails_for_everything_parks_nothing_and_recovers(
    stack: Stack, people: People, tmp_path: Path
) -> None:
    persons = await crowd(people, 40)
    faults = tmp_path / "payment"
    faults.write_text("*")
    # A backlog first, so that the bad release meets many records at once.
    stack.stop("payment-worker")
    await pay_all(persons)
    with faulty_worker(stack, "payment", faults):
        await _until_whole_batch_failed(stack)
        assert open_letters(stack, "payment") == []
        faults.write_text("")
        await until_all_paid(stack, persons)
    assert open_letters(stack, "payment") == []


async def _until_parked(
    stack: Stack, raising: dict[str, list[Person]], garbled: dict[str, list[Person]]
) -> None:
    """`poison` is exactly the poison; `held` exactly the later records of its keys."""

    def parked() -> bool:
        for service in ("billing", "payment"):
            poison = _keys(stack, service, "poison")
            assert poison == sorted(
                str(person.id) for person in raising[service] + garbled[service]
            ), (service, poison)
            held = set(_keys(stack, service, "held"))
            assert held <= set(poison)
            assert {str(person.id) for person in garbled[service]} <= held
        told = {str(person.id) for person in raising["notifier"]}
        loud = {letter.key for letter in open_letters(stack, "notifier") if letter.event_type}
        assert loud == told
        assert _keys(stack, "notifier", "held") == []
        return True

    await eventually(parked, within_seconds=60)


def _keys(stack: Stack, service: str, status: str) -> list[str]:
    return sorted(letter.key for letter in open_letters(stack, service) if letter.status == status)


def _garbage(topic: str, persons: list[Person]) -> list[Record]:
    return [Record(topic, str(person.id).encode(), b"\x00\xffgarbage") for person in persons]


@contextmanager
def _faulty_workers(
    stack: Stack, folder: Path, raising: dict[str, list[Person]], once: list[Person]
) -> Iterator[None]:
    with ExitStack() as workers:
        for service, persons in raising.items():
            lines = [str(person.id) for person in persons]
            lines += [f"once:{person.id}" for person in once]
            (folder / service).write_text("\n".join(lines))
            workers.enter_context(faulty_worker(stack, service, folder / service))
        yield


def _mend(folder: Path) -> None:
    for service in ("billing", "payment", "notifier"):
        (folder / service).write_text("")


async def _until_whole_batch_failed(stack: Stack) -> None:
    def said_so() -> bool:
        logs = (stack.state_dir / "logs").glob("payment-extra-*.log")
        return any("whole_batch_failed" in log.read_text() for log in logs)

    await eventually(said_so, within_seconds=30)
