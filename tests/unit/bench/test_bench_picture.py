"""The rows as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.bench import picture

ROWS = [
    {"name": "gets / squid", "ratio": 1.5, "goal": 1.3, "direction": "up"},
    {"name": "memory <MiB> & more", "ratio": 1.2, "goal": 1.0, "direction": "down"},
    {"name": "told only", "ratio": 0.5, "goal": None, "direction": "up"},
    {"name": "not there", "ratio": None, "goal": 1.0, "direction": "up"},
]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("ratio", "goal", "direction", "part"),
    [(2.6, 1.3, "up", 2), (0.65, 1.3, "up", 0.5), (0.3, 0.6, "down", 2), (1.2, 0.6, "down", 0.5)],
)
def test_a_fraction_over_one_is_a_goal_reached(
    ratio: float, goal: float, direction: str, part: float
) -> None:
    row = {"ratio": ratio, "goal": goal, "direction": direction}
    assert picture.fraction(row) == pytest.approx(part)


def test_what_is_judged_is_drawn_and_nothing_else(tmp_path: Path) -> None:
    results = tmp_path / "latest.json"
    results.write_text(json.dumps({"rows": ROWS}))
    picture.draw(results, tmp_path / "p.svg")
    root = ET.parse(tmp_path / "p.svg").getroot()
    assert [bar.get("class") for bar in root.iter(f"{SVG}rect")] == ["reached", "short"]
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert "memory <MiB> & more" in texts
    assert not {"told only", "not there"} & set(texts)


def test_a_bar_stays_within_the_picture() -> None:
    root = ET.fromstring(picture.svg([{"name": "far", "ratio": 1000.0, "goal": 1.0, "direction": "up"}]))
    (bar,) = root.iter(f"{SVG}rect")
    assert float(bar.get("x", 0)) + float(bar.get("width", 0)) <= picture.WIDTH - picture.RIGHT + 1
