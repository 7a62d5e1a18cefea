"""Every refusal of the table fails when the protection is taken away: run past the appliance, it is REACHED."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.verify.case import Output
from tests.lab import bypass, cases
from tests.lab.case import Case, Outcome, dead_canaries, try_case
from tests.lab.lab import Lab, host_addresses

pytestmark = pytest.mark.system

ROWS = cases.refused_anywhere()
# The canary in the host's own namespace has a test of its own: the bypass is no way to it.
HOST_ROWS = [row for row in cases.HOST_ROWS if not row.endswith("-live")]


@pytest.fixture(scope="module")
def open_lab() -> Iterator[Lab]:
    with Lab() as lab:
        bypass.create()
        lab.assert_closed()
        yield lab


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.id)
def test_past_the_appliance_the_target_is_reached(open_lab: Lab, case: Case) -> None:
    assert len(reached(open_lab, case)) >= 1


@pytest.mark.parametrize("row", HOST_ROWS)
def test_past_the_appliance_the_host_is_reached(open_lab: Lab, row: str) -> None:
    (case,) = [case for case in cases.refused_host(open_lab) if case.id == row]
    assert len(reached(open_lab, case)) == len(case.canaries), "each address has a canary of its own"


def reached(open_lab: Lab, case: Case) -> list[str]:
    """The canaries that the stimulus reached past the appliance; all of them must have been alive."""
    result = try_case(case, open_lab, bypass.workload)
    assert not [problem for problem in result.problems if problem.startswith("control")]
    found = [problem for problem in result.problems if problem.startswith("REACHED")]
    assert found, (result.problems, result.output)
    return found


def test_a_dead_canary_fails_the_row(open_lab: Lab) -> None:
    def untouched(_lab: Lab) -> bool:
        return True

    row = next(case for case in ROWS if case.id == "udp-443")
    canary = type(row.canaries[0])("dead", row.canaries[0].evidence, untouched)
    broken = Case(row.id, row.title, Outcome.REFUSED, row.command, (canary,))
    assert dead_canaries(broken, open_lab) == ["control: dead recorded nothing"]
    assert not try_case(broken, open_lab, lambda _t, _i, _c: Output(0, "")).passed


def test_ids_are_unique_and_every_host_address_has_its_row(open_lab: Lab) -> None:
    host = cases.refused_host(open_lab)
    assert tuple(case.id for case in host) == cases.HOST_ROWS
    ids = [case.id for case in [*cases.allowed(), *cases.refused(open_lab)]]
    assert len(ids) == len(set(ids))
    assert set(host_addresses()) <= set(host[-1].command)
