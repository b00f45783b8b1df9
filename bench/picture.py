"""Latency against rate as an SVG, by hand: two lines, two limits, no library."""

import math
from collections.abc import Sequence

from bench.step import StepResult

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 55
LOWEST_MS, HIGHEST_MS = 10.0, 10_000.0
LIMITS_MS = (250.0, 1000.0)
COLOURS = {"p50": "#2f6f4f", "p99": "#a3482f"}


def latency_picture(steps: Sequence[StepResult], *, title: str) -> str:
    """The SVG; the vertical axis is logarithmic."""
    highest = max(step.offered_rate for step in steps) * 1.05

    def x(rate: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * rate / highest

    def y(milliseconds: float) -> float:
        share = math.log(min(max(milliseconds, LOWEST_MS), HIGHEST_MS) / LOWEST_MS)
        share /= math.log(HIGHEST_MS / LOWEST_MS)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="15">{title}</text>',
    ]
    for milliseconds in (10, 30, 100, 300, 1000, 3000, 10_000):
        parts.append(_line(LEFT, y(milliseconds), WIDTH - RIGHT, y(milliseconds), "#e4e4e4"))
        parts.append(_text(LEFT - 8, y(milliseconds) + 4, f"{milliseconds} ms", "end"))
    for limit in LIMITS_MS:
        parts.append(_line(LEFT, y(limit), WIDTH - RIGHT, y(limit), "#888", dash="5 4"))
    for rate in _ticks(highest):
        parts.append(_line(x(rate), HEIGHT - BOTTOM, x(rate), HEIGHT - BOTTOM + 5, "#333"))
        parts.append(_text(x(rate), HEIGHT - BOTTOM + 20, f"{rate:g}", "middle"))
    parts.append(_text((LEFT + WIDTH) / 2, HEIGHT - 12, "orders offered per second", "middle"))
    for name, colour in COLOURS.items():
        points = [(x(s.offered_rate), y(getattr(s.latency_ms, name))) for s in steps]
        line = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" fill="{colour}"/>' for px, py in points
        ]
        last_x, last_y = points[-1]
        parts.append(
            f'<text x="{last_x - 8:.1f}" y="{last_y - 9:.1f}" text-anchor="end"'
            f' fill="{colour}">{name}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _ticks(highest: float) -> list[float]:
    step = 10 ** math.floor(math.log10(highest))
    if highest / step < 3:
        step /= 4
    return [step * n for n in range(int(highest / step) + 1)]


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dash: str = "") -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashed}/>'
    )


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#333">{words}</text>'
