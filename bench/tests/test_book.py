"""The book keeps what the outside world did, whoever writes and whoever is killed."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from testing.stacks.book import Book, Charge


def charge() -> Charge:
    return Charge(id=uuid4(), amount_fen=200_000, at=datetime(2026, 11, 26, tzinfo=UTC), pid=1)


def test_a_second_charge_of_an_attempt_is_the_first_one_again(tmp_path: Path) -> None:
    one, other_process = Book(tmp_path), Book(tmp_path)
    first = charge()

    one.charges.write(first)
    other_process.charges.write(first)

    read = Book.read(tmp_path).charges
    assert list(read.entries.values()) == [first]
    assert read.call_counts == {first.id: 2}


def test_what_another_process_wrote_meanwhile_is_found(tmp_path: Path) -> None:
    one, other_process = Book.read(tmp_path), Book(tmp_path)
    written = other_process.charges.write(charge())

    found = one.charges.find(written.id)

    assert found == written
    assert one.charges.find(uuid4()) is None


def test_a_line_torn_by_a_kill_never_happened(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.charges.file.write_bytes(b'\n{"id":"0192')
    whole = book.charges.write(charge())

    read = Book.read(tmp_path).charges

    assert list(read.entries) == [whole.id]
