"""The kept inputs of a target: one file, a line of base64 each, so that a diff shows what came and went."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

DIRECTORY = Path(__file__).with_name("corpus")
FINDINGS = Path(__file__).with_name("findings")
MOST_INPUTS = 200
LONGEST_INPUT = 2048


def path(target: str) -> Path:
    """Where the inputs of a target are kept."""
    return DIRECTORY / f"{target}.txt"


def load(target: str) -> list[bytes]:
    """The kept inputs; none for a target that never ran."""
    try:
        lines = path(target).read_text("ascii").split()
    except FileNotFoundError:
        return []
    return [base64.b64decode(line, validate=True) for line in lines]


def save(target: str, inputs: Iterable[bytes]) -> int:
    """Keep inputs of every length, within bounds; returns how many."""
    known = sorted(
        {each for each in inputs if 0 < len(each) <= LONGEST_INPUT}, key=lambda each: (len(each), each)
    )
    kept = (
        [known[place * len(known) // MOST_INPUTS] for place in range(MOST_INPUTS)]
        if len(known) > MOST_INPUTS
        else known
    )
    DIRECTORY.mkdir(exist_ok=True)
    path(target).write_text("".join(base64.b64encode(each).decode("ascii") + "\n" for each in kept), "ascii")
    return len(kept)


def findings(target: str) -> list[bytes]:
    """Inputs on which a run of this tree failed; kept until they no longer do."""
    return [file.read_bytes() for file in sorted(FINDINGS.glob(f"{target}-*"))]
