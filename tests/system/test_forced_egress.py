"""The demo's table, row by row: what hardened containers get from a real appliance, and what nothing reaches."""

from __future__ import annotations

import pytest

from tests.lab import cases
from tests.lab.appliance import Appliance, egress
from tests.lab.case import Case, Image, try_case
from tests.lab.containers import run_hardened, start_hardened
from tests.lab.demo import NEIGHBOUR, wait_listening
from tests.lab.lab import Lab

pytestmark = pytest.mark.system

ROWS = [*cases.allowed(), *cases.refused_anywhere()]
NEIGHBOUR_ROWS = ("neighbour", "neighbour-proxied")


@pytest.fixture(scope="module")
def neighbour(appliance: Appliance) -> str:
    container = start_hardened("lab-globex", Image.PYTHON.value, ("python3", "-c", NEIGHBOUR))
    wait_listening(container)
    return container


def test_the_lab_is_closed_with_the_appliance_in_it(lab: Lab) -> None:
    lab.assert_closed()


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.id)
def test_row(lab: Lab, case: Case) -> None:
    result = try_case(case, lab, run_hardened)
    assert result.passed, (result.problems, result.output)


@pytest.mark.parametrize("row", cases.HOST_ROWS)
def test_the_host(lab: Lab, row: str) -> None:
    (case,) = [case for case in cases.refused_host(lab) if case.id == row]
    result = try_case(case, lab, run_hardened)
    assert result.passed, (result.problems, result.output)


@pytest.mark.parametrize("row", NEIGHBOUR_ROWS)
def test_another_tenant(lab: Lab, neighbour: str, row: str) -> None:
    (case,) = [case for case in cases.refused_neighbour(neighbour) if case.id == row]
    result = try_case(case, lab, run_hardened)
    assert result.passed, (result.problems, result.output)


def test_a_job_run_by_the_operator_ends_with_a_summary(lab: Lab) -> None:
    job = "curl -sS -X POST -d x=1 -o /dev/null https://www.example.com/echo; exit 7"
    done = egress("run", "--tenant", "lab-acme", "--", "sh", "-c", job, check=False)
    assert done.returncode == 7
    assert "method-not-allowed" in done.stdout + done.stderr
