"""Which service a path at the entry belongs to; internal endpoints belong to nobody here."""

from urllib.parse import unquote

from shared.catalogue import SERVICES

# Nobody nests percent-encoding deeper than this in good faith.
DECODINGS_MAX = 5


def service_of(raw_path: bytes) -> str | None:
    """The service that gets this path, None where the entry answers 404 itself.

    Judged on what any server behind us could make of the path: it is decoded until nothing is
    left to decode, and whatever is not written plainly (dot segments, empty segments, encoded or
    backward slashes, control characters) is refused rather than tidied up.
    """
    path = _decoded(raw_path)
    if path is None or "\\" in path or not path.isprintable():
        return None
    if path.count("/") != raw_path.count(b"/"):
        return None  # a slash was hidden in an encoding
    segments = path.removeprefix("/").removesuffix("/").split("/")
    plain = [segment.partition(";")[0].strip().casefold() for segment in segments]
    if any(segment in ("", ".", "..", "internal") for segment in plain):
        return None
    return segments[0] if segments[0] in SERVICES else None


def _decoded(raw_path: bytes) -> str | None:
    try:
        path = raw_path.decode("ascii")
    except UnicodeDecodeError:
        return None
    for _ in range(DECODINGS_MAX):
        plainer = unquote(path)
        if plainer == path:
            return path
        path = plainer
    return None
