"""Recovery of every scenario as one simple picture: a bar per scenario, red where it failed."""

from collections.abc import Sequence
from html import escape

from tests.crash.run import Result

LEFT, WIDTH, ROW, TOP = 330, 420, 20, 46
GREEN, RED, GREY = "#2e7d32", "#c62828", "#616161"
# A scale that does not change from run to run can be compared.
SCALE_SECONDS = 60.0


def draw(results: Sequence[Result]) -> str:
    """An SVG; bars end at the deadline of 60 seconds."""
    height = TOP + ROW * len(results) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 190}" height="{height}"'
        ' font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="10" y="20" font-size="14">Seconds until everything that waited was done, after '
        "the fault was over (orders; lost/doubled/stuck)</text>",
    ]
    for seconds in (0, 15, 30, 45, 60):
        x = LEFT + WIDTH * seconds / SCALE_SECONDS
        parts.append(
            f'<line x1="{x}" y1="{TOP - 8}" x2="{x}" y2="{height - 14}" stroke="#e0e0e0"/>'
            f'<text x="{x}" y="{TOP - 12}" fill="{GREY}" text-anchor="middle">{seconds} s</text>'
        )
    parts += [_bar(number, result) for number, result in enumerate(results)]
    return "\n".join([*parts, "</svg>", ""])


def _bar(number: int, result: Result) -> str:
    y = TOP + ROW * number
    color = GREEN if result.is_green else RED
    seconds = SCALE_SECONDS if result.recovery_seconds is None else result.recovery_seconds
    width = max(2.0, WIDTH * min(seconds, SCALE_SECONDS) / SCALE_SECONDS)
    told = f"{result.orders:,}; {result.lost}/{result.doubled}/{result.stuck}"
    return (
        f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(result.name)}</text>'
        f'<rect x="{LEFT}" y="{y + 3}" width="{width:.1f}" height="{ROW - 7}" fill="{color}"/>'
        f'<text x="{LEFT + width + 6:.1f}" y="{y + 13}" fill="{GREY}">{told}</text>'
    )
