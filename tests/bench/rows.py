"""One comparison of `make bench`: a figure of ours against another of the same run, and the ratio to reach."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Direction = Literal["up", "down"]


@dataclass(frozen=True, slots=True)
class Row:
    """`ratio` is ours over the peer's; `direction` says which way is better; `goal` None is told, not judged.

    `raw` holds the figures behind it, with their units in the keys (`ours_per_second`, `peer_median_ms`);
    `reason` why a goal is not reached, where that is known. A peer that did not run leaves no ratio.
    """

    name: str
    ratio: float | None
    goal: float | None
    direction: Direction
    raw: dict[str, Any] = field(default_factory=dict)
    reason: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None without a goal, or when nothing could be compared."""
        if self.goal is None or self.ratio is None:
            return None
        return self.ratio >= self.goal if self.direction == "up" else self.ratio <= self.goal

    def as_json(self) -> dict[str, Any]:
        """As the results file holds it: the raw figures beside the others."""
        row = asdict(self)
        raw = row.pop("raw")
        ratio = None if self.ratio is None else round(self.ratio, 3)
        return {**row, "ratio": ratio, "reached": self.reached, **raw}
