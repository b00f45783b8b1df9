"""The outside world's memory in core mode: charges and SMS, in one append-only file each.

Several processes write the same book, and it survives SIGKILL of any of them: a line is handed
to the system in one call before the world answers. The first line of an attempt or reference is
the charge or the message; later ones only show that it was asked for again, as at a channel that
is idempotent for ever. So `Book.read(folder)` gives a checker what really happened.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar
from uuid import UUID

import msgspec

CHARGES_FILE = "charges.jsonl"
MESSAGES_FILE = "messages.jsonl"
READ_BYTES = 1 << 20


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """Money that the channel took for attempt `id`, asked by process `pid`."""

    id: UUID
    amount_fen: int
    at: datetime
    pid: int

    @property
    def trade_no(self) -> str:
        """The channel's own number; it follows from the attempt, so that nobody has to store it."""
        return f"CORE{self.id.hex}"


class Sms(msgspec.Struct, frozen=True, kw_only=True):
    """A message that the gateway took under our reference."""

    id: UUID
    template: str
    at: datetime
    pid: int


Entry = TypeVar("Entry", Charge, Sms)


@dataclass(slots=True)
class Record(Generic[Entry]):
    """One file of the book. `entries` are first lines, `call_counts` counts all of them."""

    file: Path
    kind: type[Entry]
    entries: dict[UUID, Entry] = field(default_factory=dict)
    call_counts: dict[UUID, int] = field(default_factory=dict)
    _read_to: int = 0
    _descriptor: int | None = None

    def write(self, entry: Entry) -> Entry:
        """Remember it durably; returns the first entry of that id, which is the one that counts."""
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._descriptor = os.open(self.file, flags, 0o644)
        # The line break in front keeps a line whole that follows one torn by a kill.
        os.write(self._descriptor, b"\n" + msgspec.json.encode(entry) + b"\n")
        return self.entries.setdefault(entry.id, entry)

    def find(self, entry_id: UUID) -> Entry | None:
        """The entry, also where another process has written it meanwhile."""
        if entry_id not in self.entries:
            self.catch_up()
        return self.entries.get(entry_id)

    def catch_up(self) -> None:
        """Read what was added to the file since the last look."""
        decode = msgspec.json.Decoder(self.kind).decode
        for line in self._new_lines():
            try:
                entry = decode(line)
            except msgspec.DecodeError:
                continue  # torn by a kill: the world never answered, so it never happened
            self.entries.setdefault(entry.id, entry)
            self.call_counts[entry.id] = self.call_counts.get(entry.id, 0) + 1

    def _new_lines(self) -> Iterator[bytes]:
        if not self.file.exists():
            return
        with self.file.open("rb") as file:
            file.seek(self._read_to)
            rest = b""
            while block := file.read(READ_BYTES):
                *lines, rest = (rest + block).split(b"\n")
                yield from (line for line in lines if line)
            self._read_to = file.tell() - len(rest)


class Book:
    """Both records of one folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.charges = Record(folder / CHARGES_FILE, Charge)
        self.messages = Record(folder / MESSAGES_FILE, Sms)

    @classmethod
    def read(cls, folder: Path) -> "Book":
        """Everything that is written so far."""
        book = cls(folder)
        book.charges.catch_up()
        book.messages.catch_up()
        return book
