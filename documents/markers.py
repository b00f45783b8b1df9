"""Generated passages inside hand-written files, between two comments."""

from collections.abc import Sequence


def replace_between(text: str, name: str, passage: str) -> str:
    """The text with a new passage between the markers of `name`; raises ValueError without them."""
    begin, end = begin_of(name), end_of(name)
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise ValueError(f"the markers {begin} and {end} are missing")
    return f"{before}{begin}\n\n{passage.strip()}\n\n{end}{after}"


def begin_of(name: str) -> str:
    return f"<!-- generated: {name}; change the code and run `make docs` -->"


def end_of(name: str) -> str:
    return f"<!-- end of {name} -->"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table; bars inside a cell are escaped."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines
    )
