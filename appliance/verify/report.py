"""The matrix: a line for each case and layer; the same as JSON; the line that says how it ended (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from appliance.verify.case import Case, Outcome, Result

HEAD = ("CASE", "LAYER", "STIMULUS", "EXPECTED", "SEEN", "TIME")
TITLE_SHOWN = 60


def row(result: Result) -> tuple[str, ...]:
    """The cells of a result, in the order of `HEAD`."""
    case = result.case
    title = case.title if len(case.title) <= TITLE_SHOWN else f"{case.title[: TITLE_SHOWN - 1]}…"
    return (case.id, result.layer.value, title, expected(case), seen(result), f"{result.seconds:.1f} s")


def expected(case: Case) -> str:
    """What must come of it."""
    if case.outcome is Outcome.REACHES:
        return "reached"
    if not case.canaries:
        return "refused"
    return f"refused, {len(case.canaries)} silent"


def seen(result: Result) -> str:
    """What came of it, in a few words."""
    if result.not_run:
        return f"NOT RUN: {result.not_run}"
    if result.problems:
        return f"FAILED: {'; '.join(result.problems)}"
    return expected(result.case)


def document(results: Sequence[Result]) -> dict[str, Any]:
    """All of it for machines."""
    return {
        "held": sum(result.held for result in results),
        "cases": len(results),
        "skipped": sum(bool(result.not_run) for result in results),
        "results": [
            {
                "id": result.case.id,
                "attack": result.case.attack,
                "layer": result.layer.value,
                "title": result.case.title,
                "expected": result.case.outcome.value,
                "canaries": [canary.name for canary in result.case.canaries],
                "held": result.held,
                "problems": list(result.problems),
                "not_run": result.not_run or None,
                "seconds": round(result.seconds, 3),
                "output": result.output.text if result.output else None,
            }
            for result in results
        ],
    }


def closing(results: Sequence[Result]) -> str:
    """The last line. A case that could not run did not hold."""
    held, skipped = sum(result.held for result in results), sum(bool(result.not_run) for result in results)
    return f"verify: {held} of {len(results)} cases hold, {skipped} skipped"


def all_held(results: Sequence[Result]) -> bool:
    """Whether there was something to see and all of it was as it should be."""
    return bool(results) and all(result.held for result in results)


def by_layer(results: Sequence[Result]) -> str:
    """How many cases held at each layer, in one line."""
    every = Counter(result.layer.value for result in results)
    held = Counter(result.layer.value for result in results if result.held)
    return ", ".join(f"{layer} {held[layer]}/{count}" for layer, count in every.items())
