"""Errors by what the caller should do.

SongheError
├── Refused        the business says no: a 4xx answer with a stable code (WordedRefusal: for people)
├── Unavailable    try again later: 503 with Retry-After (WordedOutage: for people)
├── Malformed      will never work: a 400 answer, or a dead letter at once
├── Contradiction  two facts exclude each other: a person must look
└── LostGuard      a fault of ours: 500, or a dead letter after three tries
"""

from shared.kernel.wording import Wording


class SongheError(Exception):
    """Root of every error that Songhe raises on purpose."""


class Refused(SongheError):
    """The request is understood and the business says no.

    `code` is stable and for programs, `detail` is for people, `extra` holds further
    members of the problem document (RFC 9457), such as the link to an open order.
    """

    def __init__(
        self, code: str, detail: str, *, status: int = 409, extra: dict[str, object] | None = None
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.status = status
        self.extra = extra or {}


class Unavailable(SongheError):
    """Something we need does not answer now; the same call may work after `retry_after_seconds`."""

    def __init__(self, code: str, detail: str, *, retry_after_seconds: int = 5) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds


class WordedRefusal(Refused):
    """A refusal in words of ours, in every language; by itself it speaks Chinese."""

    def __init__(
        self, code: str, wording: Wording, *, status: int, extra: dict[str, object] | None = None
    ) -> None:
        super().__init__(code, wording.zh, status=status, extra=extra)
        self.wording = wording


class WordedOutage(Unavailable):
    """An outage in words of ours, in every language; by itself it speaks Chinese."""

    def __init__(self, code: str, wording: Wording, *, retry_after_seconds: int = 5) -> None:
        super().__init__(code, wording.zh, retry_after_seconds=retry_after_seconds)
        self.wording = wording


class Malformed(SongheError):
    """The input breaks its contract and never will be accepted."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Contradiction(SongheError):
    """A fact that excludes what is already recorded; never resolved by last-write-wins."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class LostGuard(SongheError):
    """A guarded update missed rows that its transaction holds locked.

    Nobody else can have changed them meanwhile: they were decided on as they were read without
    the lock, or twice. Nothing of it is stored. Where losing is normal, because only a lease was
    held, nothing is raised and the method says `if_held`.
    """

    def __init__(self, table: str, *, wanted: int, saved: int) -> None:
        super().__init__(f"{saved} of {wanted} rows of {table} were as they had been read")
        self.table = table
