"""Runs cases: canaries proved alive, the stimulus, the comparison; and knows which cases there are.

Nothing here raises for an expectation that was not met. What could not be tried is `not_run`, never a pass.
"""

from __future__ import annotations

import importlib
import pkgutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from appliance.verify.case import Canary, Case, Layer, Origin, Outcome, Output, Result, Seat
from appliance.verify.world import World

ROWS = "cases_"
CANNOT_START = frozenset({125, 126, 127})  # docker run(1): the engine's refusal, not executable, not found
BROKE_OFF = "Traceback (most recent call last)"


class CannotTry(Exception):
    """The stimulus could not be tried, so there is nothing to judge; `str()` says why."""


def modules() -> list[str]:
    """Names of the modules of rows in this package, in order."""
    found = pkgutil.iter_modules([str(Path(__file__).parent)])
    return sorted(module.name for module in found if module.name.startswith(ROWS))


def gather(world: World, names: Iterable[str] | None = None) -> list[Case]:
    """The rows of all modules, or of those named. Raises `ValueError` when two have one id."""
    cases = [
        case
        for name in (modules() if names is None else names)
        for case in importlib.import_module(f"appliance.verify.{name}").rows(world)
    ]
    twice = [identifier for identifier, count in Counter(case.id for case in cases).items() if count > 1]
    if twice:
        raise ValueError(f"more than one case is called {', '.join(twice)}")
    return cases


def matches(case: Case, wanted: str) -> bool:
    """Whether `wanted` means the case: a section (A), an attack (A4), or the beginning of an id (A4-s)."""
    if len(wanted) == 1:
        return case.id.startswith(wanted)
    return wanted in {case.id, case.attack} or ("-" in wanted and case.id.startswith(wanted))


def run(cases: Sequence[Case], layers: Sequence[Layer], world: World) -> Iterator[Result]:
    """Every case at each of its layers among `layers`, one layer after the other.

    Where service has to be taken away, that is done once for all the cases that need it.
    """
    for layer in layers:
        chosen = [case for case in cases if layer in case.layers]
        yield from (run_case(case, layer, world) for case in chosen if not case.takes_away(layer))
        away = [case for case in chosen if case.takes_away(layer)]
        if not away:
            continue
        done = 0
        try:
            with world.at(layer):
                for case in away:
                    result = run_case(case, layer, world)
                    done += 1
                    yield result
        except (OSError, RuntimeError) as error:
            # No case is lost to the way there; one that was tried already speaks for the way back.
            why = f"layer {layer}: {error}"
            yield from (Result(case, layer, 0.0, not_run=why) for case in away[done:] or away[-1:])


def run_case(case: Case, layer: Layer, world: World) -> Result:
    """Prove the canaries alive, run the stimulus, compare."""
    started = time.monotonic()
    try:
        problems, output = _try(case, layer, world)
    except CannotTry as error:
        return Result(case, layer, time.monotonic() - started, not_run=str(error))
    except Exception as error:  # noqa: BLE001 - whatever broke, it is no pass, and the other cases go on
        return Result(case, layer, time.monotonic() - started, not_run=f"{type(error).__name__}: {error}")
    return Result(case, layer, time.monotonic() - started, tuple(problems), output=output)


def _try(case: Case, layer: Layer, world: World) -> tuple[list[str], Output]:
    problems: list[str] = []
    if case.outcome is Outcome.REFUSED:
        problems += dead_canaries(case.canaries, world)
    before = [canary.evidence.hits(Origin.WORKLOAD) for canary in case.canaries]
    output = stimulate(case, world)
    world.settle()
    for canary, count in zip(case.canaries, before, strict=True):
        hits = canary.evidence.hits(Origin.WORKLOAD) - count
        if case.outcome is Outcome.REFUSED and hits:
            problems.append(f"REACHED: {canary.name} has {hits} more on record")
        if case.outcome is Outcome.REACHES and not hits:
            problems.append(f"{canary.name} has no record of it")
    if layer is Layer.GATEWAY:
        problems += [f"output lacks {text!r}" for text in case.expect if text not in output.text]
    problems += [f"output has {text!r}" for text in case.forbid if text in output.text]
    if BROKE_OFF in output.text:
        problems.append("the stimulus broke off")
    if output.status is None:
        problems.append("the stimulus did not end")
    elif case.outcome is Outcome.REACHES and output.status != 0:
        problems.append(f"exit status {output.status}")
    return problems, output


def dead_canaries(canaries: Sequence[Canary], world: World) -> list[str]:
    """The canaries that the control could not reach, so that nothing could be proved with them."""
    before = [canary.evidence.hits(Origin.CONTROL) for canary in canaries]
    answered = [canary.touch() for canary in canaries]
    if canaries:
        world.settle()
    dead = []
    for canary, count, answer in zip(canaries, before, answered, strict=True):
        if not answer:
            dead.append(f"control: {canary.name} did not answer")
        elif canary.evidence.hits(Origin.CONTROL) <= count:
            dead.append(f"control: {canary.name} recorded nothing")
    return dead


def stimulate(case: Case, world: World) -> Output:
    """Run the stimulus in its seat. Raises `CannotTry` when it could not be started."""
    if callable(case.stimulus):
        return case.stimulus(world)
    if case.seat is Seat.CONTAINER:
        output = world.run(case.tenant, case.stimulus, image=case.image)
    else:
        output = world.run_as(case.seat, case.stimulus, case.tenant)
    if output.status in CANNOT_START:
        raise CannotTry(f"the stimulus could not be started (status {output.status}): {output.text[-300:]}")
    return output
