"""Refusals of the battery fail when the protection is taken away: run past the appliance, they are REACHED."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.verify import battery
from appliance.verify.case import Canary, Layer, Outcome
from tests.lab import bypass
from tests.lab.bypass import BypassWorld
from tests.lab.lab import Lab
from tests.lab.world import plan

pytestmark = pytest.mark.system

# Modules whose rows need nothing of the appliance: its proxy, its tenants, its containers. For the others the
# mutation run shows the same.
MODULES = ("cases_routes", "cases_taken")
# What the bypass has and a container has not, or the other way round.
ELSEWHERE = {
    "A4-host-listening": "the bypass is no way to the host",
    "A9-link-local": "says what a container has",
}
ROWS = [
    case.id
    for case in battery.gather(plan(), MODULES)
    if case.outcome is Outcome.REFUSED
    and case.canaries
    and not callable(case.stimulus)
    and case.id not in ELSEWHERE
]


@pytest.fixture(scope="module")
def open_world() -> Iterator[BypassWorld]:
    with Lab() as lab:
        bypass.create()
        lab.assert_closed()
        world = BypassWorld()
        world.attach(lab)
        yield world


@pytest.mark.parametrize("identifier", [*ROWS, "A4-host"])
def test_past_the_appliance_the_target_is_reached(open_world: BypassWorld, identifier: str) -> None:
    (case,) = [case for case in battery.gather(open_world, MODULES) if case.id == identifier]
    result = battery.run_case(case, Layer.GATEWAY, open_world)
    assert not [problem for problem in result.problems if problem.startswith("control")]
    assert [problem for problem in result.problems if problem.startswith("REACHED")], result


def test_a_dead_canary_fails_the_case(open_world: BypassWorld) -> None:
    (case,) = [case for case in battery.gather(open_world, MODULES) if case.id == "A6-udp-long"]
    dead = Canary("dead", case.canaries[0].evidence, lambda: True)
    assert battery.dead_canaries([dead], open_world) == ["control: dead recorded nothing"]
