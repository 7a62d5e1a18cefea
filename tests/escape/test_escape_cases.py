"""The cases of the battery, one test for each: what `egress verify` tries.

Every case stands here at its first layer, and most share the containers that they run in; `make verify-lab` tries
every case at every layer, each in a container of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from appliance.verify import battery
from appliance.verify.case import Case, Layer
from tests.lab.world import LabWorld, plan, stand

pytestmark = pytest.mark.system


def chosen(layer: Layer) -> list[Case]:
    """The cases whose first layer this is, those last for which service is taken away."""
    cases = battery.gather(plan())
    here = [case for case in cases if next(other for other in Layer if other in case.layers) is layer]
    return sorted(here, key=lambda case: case.takes_away(layer))


ROWS = [(layer, case) for layer in Layer for case in chosen(layer)]


ASKS_MUCH = frozenset({"B4", "B7", "B11"})
"""Attacks that the bound of a container's questions would answer, were others asked just before.

B4 asks for data in names, B7 for the ends of all special ranges (43 of 50 questions a second), and B11 sends
forged answers, which count as questions.
"""
LIMITS = "F"
"""The section of attacks on limits, which count what one container has had."""


def alone(case: Case) -> bool:
    """Whether it needs containers of its own, in which nothing was asked or had before."""
    return case.attack in ASKS_MUCH or case.id.startswith(LIMITS)


class Standing:
    """A world that is up, with its layers taken away and given back as the cases need it."""

    def __init__(self, world: LabWorld) -> None:
        self.world = world
        self.cases = {case.id: case for case in battery.gather(world)}
        self._away: Layer | None = None
        self._stack = ExitStack()

    def at(self, layer: Layer | None) -> None:
        """Only `layer` and those behind it serve; None: all do."""
        if layer is not self._away:
            self._stack.close()
            self._away = None
            if layer is not None:
                self._stack.enter_context(self.world.at(layer))
            self._away = layer

    def run(self, identifier: str, layer: Layer) -> None:
        """Run a case. Raises `AssertionError` when it did not hold."""
        case = self.cases[identifier]
        self.at(layer if case.takes_away(layer) else None)
        self.world.stays = not alone(case)
        result = battery.run_case(case, layer, self.world)
        said = result.output.text if result.output else ""
        assert result.held, f"{result.not_run or '; '.join(result.problems)}\n{said}"


@pytest.fixture(scope="module")
def standing() -> Iterator[Standing]:
    with stand(stays=True) as world:
        found = Standing(world)
        try:
            yield found
        finally:
            found.at(None)


def test_the_lab_is_closed_with_the_appliance_in_it(standing: Standing) -> None:
    standing.world.lab.assert_closed()


@pytest.mark.parametrize(("layer", "case"), ROWS, ids=[f"{layer}-{case.id}" for layer, case in ROWS])
def test_case(standing: Standing, layer: Layer, case: Case) -> None:
    standing.run(case.id, layer)
