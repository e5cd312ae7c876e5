"""A bar chart of ratios with whiskers as SVG, readable on light and dark pages. Pure, and without a library.

Bars begin at 1 on a logarithmic scale: to the right is faster, to the left slower than what is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from bench.stats import Spread

WIDTH = 760
LABELS = 190
FIGURES = 60
BAR = 13
GAP = 14
TOP = 64
BOTTOM = 34
# One hue for each subject, apart from each other in lightness too; the same on both backgrounds.
COLOURS = ("#3b82c4", "#1d4f91", "#d9822b", "#7a8b52", "#8e5ea2")
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 14px }
.small { font-size: 11px }
.grid { stroke: #d0d7de }
.one { stroke: #57606a; stroke-width: 1.5 }
.whisker { stroke: #24292f; stroke-width: 1.2 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .grid { stroke: #3d444d }
  .one { stroke: #9198a1 }
  .whisker { stroke: #e6edf3 }
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    subject: str
    ratio: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The bars of one case."""

    label: str
    bars: Sequence[Bar]


def _ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log2(low)), math.ceil(math.log2(high))
    return [2.0**power for power in range(first, last + 1)]


def svg(title: str, groups: Sequence[Group]) -> str:
    """The chart; raises ValueError where there is nothing to show or a ratio is not above 0."""
    every = [bar for group in groups for bar in group.bars]
    if not every or min(bar.ratio.low for bar in every) <= 0:
        raise ValueError("a chart needs ratios above 0")
    ticks = _ticks(min(0.5, *(bar.ratio.low for bar in every)), max(2.0, *(bar.ratio.high for bar in every)))
    left, right = math.log2(ticks[0]), math.log2(ticks[-1])

    def x(ratio: float) -> float:
        share = (math.log2(ratio) - left) / (right - left)
        return round(LABELS + share * (WIDTH - LABELS - FIGURES), 1)

    names = list(dict.fromkeys(bar.subject for bar in every))
    height = TOP + sum(len(group.bars) * BAR + GAP for group in groups) + BOTTOM
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        f' aria-label="{escape(title, {chr(34): "&quot;"})}">',
        f"<style>{escape(STYLE)}</style>",
        f'<text class="title" x="8" y="20">{escape(title)}</text>',
        *_legend(names),
    ]
    bottom = height - BOTTOM
    for tick in ticks:
        kind = "one" if tick == 1 else "grid"
        at = x(tick)
        out.append(f'<line class="{kind}" x1="{at}" y1="{TOP - 6}" x2="{at}" y2="{bottom}"/>')
        label = f"{tick:g}" if tick >= 1 else f"1/{1 / tick:g}"
        out.append(f'<text class="small" x="{at}" y="{bottom + 16}" text-anchor="middle">{label}</text>')
    y = float(TOP)
    for group in groups:
        middle = y + len(group.bars) * BAR / 2 + 4
        out.append(f'<text x="{LABELS - 10}" y="{middle}" text-anchor="end">{escape(group.label)}</text>')
        for bar in group.bars:
            out += _bar(bar, COLOURS[names.index(bar.subject) % len(COLOURS)], y, x)
            y += BAR
        y += GAP
    return "\n".join([*out, "</svg>", ""])


def _legend(names: Sequence[str]) -> list[str]:
    out, at = [], 8.0
    for number, name in enumerate(names):
        colour = COLOURS[number % len(COLOURS)]
        out.append(f'<rect x="{at}" y="32" width="11" height="11" fill="{colour}"/>')
        out.append(f'<text x="{at + 16}" y="42">{escape(name)}</text>')
        at += 34 + 7 * len(name)
    return out


def _bar(bar: Bar, colour: str, y: float, x: Callable[[float], float]) -> list[str]:
    ends = sorted((x(1), x(bar.ratio.median)))
    low, high = x(bar.ratio.low), x(bar.ratio.high)
    middle = y + BAR / 2
    return [
        f'<rect x="{ends[0]}" y="{y + 1}" width="{max(1.0, ends[1] - ends[0]):.1f}" height="{BAR - 2}"'
        f' fill="{colour}"/>',
        f'<line class="whisker" x1="{low}" y1="{middle}" x2="{high}" y2="{middle}"/>',
        *(
            f'<line class="whisker" x1="{end}" y1="{y + 3}" x2="{end}" y2="{y + BAR - 3}"/>'
            for end in (low, high)
        ),
        f'<text class="small" x="{WIDTH - 8}" y="{y + BAR - 3}" text-anchor="end">'
        f"{bar.ratio.median:.2f}</text>",
    ]
