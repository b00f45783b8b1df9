"""Statements on one connection: the same SQL and the same answers on both drivers.

The places of values are written as SQLAlchemy writes them, which takes these texts as they are;
whoever uses asyncpg does without SQLAlchemy: it is the larger half of an idle worker's imports.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

# `:name`, but neither `::type` nor `\:name`, nor a colon within a word.
PLACE = re.compile(r"(?<![:\w\\]):([\w$]+)(?![:\w$])")
ESCAPED_PLACE = re.compile(r"\\(:[\w$]*)(?![:\w$])")

# What a query returned, by column, and by attribute where the driver gives that.
Row = Any
RowMapping = Mapping[str, Any]


class Statement:
    """One text of SQL, written once per module, in which `:name` stands for a value."""

    __slots__ = ("names", "numbered", "text")

    def __init__(self, text: str) -> None:
        numbers: dict[str, int] = {}

        def number(place: re.Match[str]) -> str:
            return f"${numbers.setdefault(place[1], len(numbers) + 1)}"

        self.text = text
        # As PostgreSQL itself takes it: `$1` for the value of the first of `names`.
        self.numbered = ESCAPED_PLACE.sub(r"\1", PLACE.sub(number, text))
        self.names = tuple(numbers)


def text(sql: str) -> Statement:
    """A statement whose values are given by name; `\\:` is a colon that begins no name."""
    return Statement(sql)


class Rows:
    """What a statement returned: columns by attribute; with `mappings()` by name.

    `rowcount` is how many rows it found or changed.
    """

    __slots__ = ("_rows", "rowcount")

    def __init__(self, rows: Sequence[Any], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def all(self) -> Sequence[Any]:
        return self._rows

    def first(self) -> Any | None:
        return self._rows[0] if self._rows else None

    def one(self) -> Any:
        """The only row; raises LookupError where there are none or several."""
        if len(self._rows) != 1:
            raise LookupError(f"one row was expected, and there are {len(self._rows)}")
        return self._rows[0]

    def one_or_none(self) -> Any | None:
        """The only row or None; raises LookupError where there are several."""
        return self.one() if self._rows else None

    def mappings(self) -> "Rows":
        """The same rows as mappings from column to value."""
        return self


class Connection(Protocol):
    """One connection, and the transaction that it is in."""

    async def execute(
        self, statement: Statement, values: Mapping[str, Any] | None = None, /
    ) -> Rows: ...

    async def scalar(self, statement: Statement, values: Mapping[str, Any] | None = None, /) -> Any:
        """The first column of the first row, or None."""
        row = (await self.execute(statement, values)).first()
        return None if row is None else row[0]

    def savepoint(self) -> AbstractAsyncContextManager[object]:
        """A part that can be rolled back alone."""


class Pool(Protocol):
    """A bounded number of connections to one database; nothing connects before first use."""

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """Committed at the end of the block, rolled back on any exception."""

    def statements(self) -> AbstractAsyncContextManager[Connection]:
        """Each statement is a transaction of its own."""

    @property
    def held_count(self) -> int:
        """How many connections are in use now."""

    async def close(self) -> None: ...
