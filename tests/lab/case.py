"""What one row of the battery is: a stimulus in a real container, what is expected, and the proof."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from appliance.verify.case import Evidence, Origin, Output
from tests.lab.containers import Workload
from tests.lab.lab import Lab


class Outcome(Enum):
    """What the stimulus must meet with."""

    REACHES = "reaches"
    REFUSED = "refused"


class Image(Enum):
    """Where the stimulus runs."""

    PYTHON = "egress/runner-python"
    NODE = "egress/runner-node"
    STATIC = "egress-lab/static-client"


@dataclass(frozen=True, slots=True)
class Canary:
    """A target: what shows that it was reached, and how the control reaches it (true when it answered)."""

    name: str
    evidence: Evidence
    touch: Callable[[Lab], bool]


@dataclass(frozen=True, slots=True)
class Case:
    """One row. `expect` and `forbid` are texts that the workload's output has, or has not, in it."""

    id: str
    title: str
    outcome: Outcome
    command: tuple[str, ...]
    canaries: tuple[Canary, ...]
    expect: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()
    tenant: str = "lab-acme"
    image: Image = Image.PYTHON


@dataclass(frozen=True, slots=True)
class Result:
    """How a row ended; `problems` is empty when everything was as expected."""

    case: Case
    seconds: float
    problems: tuple[str, ...] = ()
    output: Output | None = field(default=None, repr=False)

    @property
    def passed(self) -> bool:
        return not self.problems


def try_case(case: Case, lab: Lab, workload: Workload) -> Result:
    """Prove the canaries alive, run the stimulus, compare. Never raises for a failed expectation."""
    started = time.monotonic()
    problems: list[str] = []
    if case.outcome is Outcome.REFUSED:
        problems += dead_canaries(case, lab)
    before = {canary.name: canary.evidence.hits(Origin.WORKLOAD) for canary in case.canaries}
    output = workload(case.tenant, case.image.value, case.command)
    lab.settle()
    for canary in case.canaries:
        hits = canary.evidence.hits(Origin.WORKLOAD) - before[canary.name]
        if case.outcome is Outcome.REFUSED and hits:
            problems.append(f"REACHED: {canary.name} has {hits} more on record")
        if case.outcome is Outcome.REACHES and not hits:
            problems.append(f"{canary.name} has no record of it")
    problems += [f"output lacks {text!r}" for text in case.expect if text not in output.text]
    problems += [f"output has {text!r}" for text in case.forbid if text in output.text]
    if case.outcome is Outcome.REACHES and output.status != 0:
        problems.append(f"exit status {output.status}")
    return Result(case, time.monotonic() - started, tuple(problems), output)


def dead_canaries(case: Case, lab: Lab) -> list[str]:
    """The canaries that the control could not reach, so that nothing could be proved with them."""
    dead = []
    for canary in case.canaries:
        before = canary.evidence.hits(Origin.CONTROL)
        answered = canary.touch(lab)
        lab.settle()
        recorded = canary.evidence.hits(Origin.CONTROL) > before
        if not (answered and recorded):
            dead.append(f"control: {canary.name} {'recorded nothing' if answered else 'did not answer'}")
    return dead
