"""The rows with a goal as one SVG, readable on a light and on a dark page: README shows it.

A bar is what was reached over what is to be reached, on a logarithmic scale; where less is better the fraction is
turned over, so that a bar past the line is always a goal reached.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from tests.bench.report import RESULTS

PICTURE = Path(__file__).with_name("results.svg")
WIDTH, LINE, TOP, LEFT, RIGHT = 1040, 26, 44, 550, 130
_LEAST, _MOST = 0.25, 4.0
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.small { font-size: 11px; fill: #59636e; }
.reached { fill: #1a7f37; } .short { fill: #bc4c00; } .goal { stroke: #1f2328; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; } .small { fill: #9198a1; }
  .reached { fill: #3fb950; } .short { fill: #db6d28; } .goal { stroke: #f0f6fc; }
}
"""


def fraction(row: dict[str, Any]) -> float:
    """What was reached over what is to be reached; 1 is the goal, more is better."""
    part = float(row["ratio"]) / float(row["goal"])
    return part if row["direction"] == "up" else 1 / part


def _place(part: float) -> float:
    within = min(max(part, _LEAST), _MOST)
    return LEFT + (WIDTH - LEFT - RIGHT) * math.log(within / _LEAST) / math.log(_MOST / _LEAST)


def svg(rows: Sequence[dict[str, Any]]) -> str:
    """The picture of all rows that have a ratio and a goal, in the order in which they come."""
    judged = [row for row in rows if row["ratio"] and row["goal"]]
    height = TOP + LINE * len(judged) + 16
    goal = _place(1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>Ratios that were measured, against the ratios to reach</title>",
        f"<style>{_STYLE}</style>",
        f'<text class="small" x="{goal}" y="14" text-anchor="middle">goal</text>',
        f'<text class="small" x="{_place(2)}" y="30" text-anchor="middle">2 × better</text>',
        f'<text class="small" x="{_place(0.5)}" y="30" text-anchor="middle">half</text>',
    ]
    for number, row in enumerate(judged):
        y = TOP + LINE * number
        end = _place(fraction(row))
        kind = "reached" if fraction(row) >= 1 else "short"
        sign = "≥" if row["direction"] == "up" else "≤"
        told = f'{row["ratio"]:.2f}<tspan class="small" dx="6">{sign} {row["goal"]:g}</tspan>'
        parts += [
            f'<text x="{LEFT - 10}" y="{y + 15}" text-anchor="end">{escape(row["name"])}</text>',
            f'<rect class="{kind}" x="{min(goal, end):.1f}" y="{y + 3}" width="{abs(end - goal):.1f}" height="16" rx="2"/>',
            f'<text x="{WIDTH - RIGHT + 10}" y="{y + 15}">{told}</text>',
        ]
    parts.append(f'<line class="goal" x1="{goal}" x2="{goal}" y1="20" y2="{height - 10}"/>')
    return "\n".join([*parts, "</svg>", ""])


def draw(results: Path = RESULTS, place: Path = PICTURE) -> None:
    """The picture of a results file."""
    place.write_text(svg(json.loads(results.read_text())["rows"]))
